"""Precision, recall, density and coverage: whether shapes lie among the nearest neighbours of the other set's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float64]


def neighbour_radii(within: Distances, neighbours: int) -> Distances:
    """Return for each shape of a set the distance to its k-th nearest other shape of the set.

    Args:
        within: [n, n]; the diagonal is not looked at.
        neighbours: k.

    Returns:
        [n].

    Raises:
        ValueError: the matrix is not square, or there are not more than k shapes.
    """
    n = len(within)
    if within.shape != (n, n):
        raise ValueError(f"expected a matrix [n, n], got {within.shape}")
    if not 1 <= neighbours < n:
        raise ValueError(f"expected more than {neighbours} shapes in each set, got {n}; ask for fewer `neighbours`")
    others = within.astype(float, copy=True)
    np.fill_diagonal(others, np.inf)
    return np.partition(others, neighbours - 1, axis=1)[:, neighbours - 1]


def prdc(
    generated: Distances, across: Distances, reference: Distances, *, neighbours: int
) -> dict[str, NDArray[np.float64]]:
    """Return the shapes' contributions to four measures; a measure is their mean.

    With B(x) the closed ball around x whose radius is the distance to x's k-th nearest other shape of its own set:

        precision = mean over samples g of [g lies in B(r) of some reference r]
        recall    = mean over references r of [r lies in B(g) of some sample g]
        density   = mean over samples g of |{references r : g in B(r)}| / k
        coverage  = mean over references r of [some sample g lies in B(r)]

    The first two are of Kynkaanniemi et al. 2019, section 2, the others of Naeem et al. 2020, section 3.

    Args:
        generated: [n, n] distances within the samples.
        across: [n, m], of samples to references.
        reference: [m, m].
        neighbours: k.

    Returns:
        {"precision": [n], "recall": [m], "density": [n], "coverage": [m]}; density is 0 to m / k, the others 0 or 1.

    Raises:
        ValueError: the matrices do not agree, or a set has not more than k shapes.
    """
    if across.shape != (len(generated), len(reference)):
        raise ValueError(
            f"expected matrices [n, n], [n, m], [m, m], got {generated.shape}, {across.shape}, {reference.shape}"
        )
    around_reference = across <= neighbour_radii(reference, neighbours)[None, :]
    around_generated = across <= neighbour_radii(generated, neighbours)[:, None]
    return {
        "precision": around_reference.any(axis=1).astype(float),
        "recall": around_generated.any(axis=0).astype(float),
        "density": around_reference.sum(axis=1) / neighbours,
        "coverage": around_reference.any(axis=0).astype(float),
    }
