"""Plugins for amodal-bench in a distribution of their own."""
