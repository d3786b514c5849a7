"""Measures on point clouds and on distance matrices, and their statistics: pure functions that the metric plugins share."""
