"""Files: written whole, digested, named, found; small documents read within bounds."""
