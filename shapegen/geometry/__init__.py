"""Surfaces, their distance fields and their meshing. Numpy and scipy; nothing here knows of plugins or run folders."""
