"""Noisy copies: training shapes moved by smooth noise, which a good test of novelty must tell from new shapes."""

from __future__ import annotations

import numpy as np

from shapegen.geometry.surface import Surface, area

SIZE = 0.01
"""Root mean square of the displacement's length, in units of the root of the surface's area (2.7 mm for a liver)."""

LENGTH = 0.15
"""Correlation length of the noise, in the same unit (41 mm for a liver)."""

_WAVES = 256


def smoothly_moved(
    surface: Surface, rng: np.random.Generator, *, size: float = SIZE, length: float = LENGTH
) -> Surface:
    """Return the surface with every vertex moved by a smooth random field.

        u(x) = size sqrt(area) sqrt(2 / 3K) sum over k of a_k cos(w_k . x + b_k)

    with K = 256 waves, a_k ~ N(0, I), w_k ~ N(0, I) / (length sqrt(area)), b_k uniform: a Gaussian field with the
    covariance exp(-|x - y|^2 / (2 length^2 area)), by random Fourier features (Rahimi and Recht 2007). One field is one
    draw: its mean square over one surface varies by about a third.

    Args:
        surface: with an area above 0, any unit.
        rng: of the field.
        size: root mean square of |u|, in units of sqrt(area).
        length: correlation length, in units of sqrt(area).
    """
    unit = np.sqrt(area(surface))
    waves = rng.normal(size=(3, _WAVES)) / (length * unit)
    heights, phases = rng.normal(size=(_WAVES, 3)), rng.uniform(0, 2 * np.pi, size=_WAVES)
    field = np.cos(surface.vertices @ waves + phases) @ heights * np.sqrt(2 / (3 * _WAVES))
    return surface.moved(surface.vertices + size * unit * field)
