"""Intervals of measures that a shape drawn twice would spoil: complementary halves in place of the bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Measure = Callable[..., Mapping[str, float]]


def half_sampled(
    measure: Measure, *sets: NDArray[Any], rng: np.random.Generator, whole: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return a measure's numbers, moved by one draw of their sampling error.

        t + (t(A) - t(A')) / 2, A a random half of every set, A' the other half

    (balanced half-samples, McCarthy 1969). For a mean its variance over draws is the variance of the mean. No shape is
    used twice, as it is by the bootstrap, which adds pairs of equal shapes to distances between sets and raises them;
    and what bias t has at half the size cancels between the halves, so the draws lie around t.

    Args:
        measure: of arrays with one row for each shape, as many arrays as there are sets.
        sets: [n_i, ...] each, n_i at least 2.
        rng: draws the halves.
        whole: the numbers of the whole sets, if they are known.

    Returns:
        The numbers that halves have too.

    Raises:
        ValueError: a set has fewer than 2 rows; or what the measure raises for half of the sets.
    """
    if any(len(rows) < 2 for rows in sets):
        raise ValueError(f"expected at least 2 shapes in each set to halve, got {[len(rows) for rows in sets]}")
    orders = [rng.permutation(len(rows)) for rows in sets]
    # Of an odd number the spare one goes to either half by chance.
    cuts = [len(order) // 2 + (len(order) % 2) * int(rng.integers(2)) for order in orders]
    whole = measure(*sets) if whole is None else whole
    one = measure(*(rows[o[:c]] for rows, o, c in zip(sets, orders, cuts, strict=True)))
    other = measure(*(rows[o[c:]] for rows, o, c in zip(sets, orders, cuts, strict=True)))
    both = one.keys() & other.keys()
    return {name: float(value + (one[name] - other[name]) / 2) for name, value in whole.items() if name in both}
