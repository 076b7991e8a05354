"""Readers and writers of annotation files, for every dataset's adapter and for those of plugins."""
