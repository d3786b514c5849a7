"""How well drawn rows of numbers stand for held-out ones."""

from __future__ import annotations

import torch
from torch import Tensor


def energy_scores(drawn: Tensor, held_out: Tensor) -> Tensor:
    """Return the energy score of each held-out row, [m]; lower is better.

    ES(P, v) = E|X - v| - E|X - X'| / 2 for independent X, X' ~ P: a strictly proper score, lowest in the mean for the
    true distribution (Gneiting and Raftery 2007, eq. 22). The mean over the held-out rows is half the energy distance
    between the two (Szekely and Rizzo 2013) and a constant that no generator can change. It does not see copying:
    the training rows themselves are draws of the true distribution.

    Args:
        drawn: g >= 2 independent draws of P, [g, d].
        held_out: [m, d].

    Returns:
        float64, in the unit of the rows; O(g (g + m) d).
    """
    x, v = drawn.double(), held_out.double()
    among = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    between = torch.cdist(x, v, compute_mode="donot_use_mm_for_euclid_dist")
    return between.mean(dim=0) - among.sum() / (len(x) * (len(x) - 1)) / 2


def one_nna(drawn: Tensor, held_out: Tensor) -> float:
    """Return the leave-one-out accuracy, %, of telling drawn from held-out rows by the nearest one; 50 is best.

    (Lopez-Paz and Oquab 2017.) The sets are made equally large: the mean over as many disjoint parts of the draws as
    there are; of few rows this is a rough number.
    """
    m = min(len(drawn), len(held_out))
    parts = [drawn[start : start + m] for start in range(0, len(drawn) - m + 1, m)]
    own = torch.arange(2 * m) < m
    right = []
    for part in parts:
        both = torch.cat([part, held_out[:m]]).double()
        distance = torch.cdist(both, both).fill_diagonal_(torch.inf)
        right.append((own[distance.argmin(dim=1)] == own).double().mean())
    return 100 * float(torch.stack(right).mean())


def nearest_ratio(drawn: Tensor, train: Tensor, held_out: Tensor) -> float:
    """Return the median distance of drawn rows to their nearest training row over that of held-out rows.

    Well below 1: the draws are nearer to the training rows than real new shapes are, which is what copying looks like.
    """

    def median(rows: Tensor) -> float:
        return float(torch.cdist(rows.double(), train.double()).min(dim=1).values.median())

    return median(drawn) / max(median(held_out), 1e-12)
