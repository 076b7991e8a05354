"""Metrics of pixels: a second loop, over stored predictions and the dataset, beside the counts of a run."""
