"""Figures from finished runs: curves over the occlusion rate, scatters, bars, grids of pictures."""
