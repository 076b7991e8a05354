"""Runs as they are read again."""
