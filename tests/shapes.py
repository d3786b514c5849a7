"""Small shapes with known geometry, for tests of metrics."""

from __future__ import annotations

import numpy as np

from shapegen.metrics.bank import ShapeBank
from shapegen.store import derived_seed
from tests.conftest import icosphere

SPHERE = icosphere(2)


def blob(name, *, spread=0.3):
    """Return an ellipsoid in mm whose axes depend on its name."""
    rng = np.random.default_rng(derived_seed(0, name))
    return SPHERE.moved(SPHERE.vertices * np.array([90.0, 70, 60]) * rng.uniform(1 - spread, 1 + spread, 3))


def make_bank(names, *, load=blob, **options):
    return ShapeBank(names, load, workers=1, **options)
