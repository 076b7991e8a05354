"""From the counts of many instances to scores, intervals and comparisons, under a protocol."""
