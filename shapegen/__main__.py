"""`python -m shapegen` is `shapegen`."""

from shapegen.cli import app

app()
