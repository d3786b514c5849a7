"""Implicit neural representations: their weights as vectors, their evaluation, and fitting many of them at once."""
