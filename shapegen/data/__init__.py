"""From files on disk to a population of clean, aligned shapes."""
