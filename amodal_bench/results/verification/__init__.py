"""Whether a run's numbers follow from its folder and the dataset: `check`, of one run."""
