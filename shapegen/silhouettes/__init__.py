"""Shapes from pictures: silhouettes from named views and slices of a mask, which guide any generator."""
