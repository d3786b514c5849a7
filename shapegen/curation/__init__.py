"""Sorting shapes: what is usable, what can be mended, what is left out, and why."""
