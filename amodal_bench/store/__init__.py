"""A run on disk: its spec and key, its rows, its record, who is at it."""
