"""What the official layouts look like from the writing side."""
