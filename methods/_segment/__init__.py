"""Promptable segmenters: the SAM family behind one small interface, used by several methods."""
