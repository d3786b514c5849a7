"""Measures on point clouds and distance matrices and their statistics: what metric plugins and the stage share."""
