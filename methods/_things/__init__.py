"""Things against background: a small network that is told apart by visible masks alone, and what may hide an object."""
