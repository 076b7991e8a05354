"""Pixels: run-length codes, polygons, pictures, and the counts that every overlap metric needs."""
