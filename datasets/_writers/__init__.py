"""What the official layouts look like from the writing side: one file a format, found by its name.

A format is called after the dataset that reads it; where a dataset has several layouts, the rest of the file's
name tells which: `kins_2020.py` writes `kins-2020`, which `datasets/kins.py` reads.
"""
