"""Metrics of one reconstruction.

Lengths are in cube units of the truth's reference normalisation: side 1, the truth within [-0.475, 0.475]^3.
Definitions as in the evaluation of Nguyen et al. 2025 (from Occupancy Networks, Mescheder et al. 2019, supplement 1);
docs/metrics.md lists what differs from that code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from shapegen.evaluation import ReconstructionPair


class VolumeIou:
    """Intersection over union of the two insides on a lattice.

        VIoU = |A and B| / |A or B|, over the nodes of a lattice of r^3 over [-0.5, 0.5]^3, both ends included

    Both surfaces go through the same inside test. Returns `viou`: 0 to 1, high is better; 0 for an empty prediction.
    Cost: two occupancy lattices (2.1 M nodes each at r = 128).
    """

    applies_to: Literal["reconstruction"] = "reconstruction"
    target: ClassVar[Mapping[str, Literal["high"]]] = {"viou": "high"}
    identical: ClassVar[Mapping[str, float]] = {"viou": 1.0}

    def __init__(self, resolution: int | None) -> None:
        self.resolution = resolution

    def __call__(self, pair: ReconstructionPair) -> dict[str, float]:
        truth, prediction = pair.occupancy(self.resolution)
        union = int(np.count_nonzero(truth | prediction))
        if not union:
            raise ValueError("expected a truth with lattice nodes inside, got none; raise the resolution")
        return {"viou": int(np.count_nonzero(truth & prediction)) / union}


class ChamferL1:
    """Mean distance to the other surface.

        Chamfer-L1 = (mean over a of min over b of |a - b|  +  mean over b of min over a of |a - b|) / 2

    with area-uniform points a, b of the two surfaces; distances are not squared. Returns `chamfer-l1`: 0 to infinity
    (an empty prediction), low is better. Two samples of 100,000 points of one and the same liver give 0.0018 to 0.0020:
    that is the floor. Cost: two k-d tree queries of the points, shared with the other metrics of this module.
    """

    applies_to: Literal["reconstruction"] = "reconstruction"
    target: ClassVar[Mapping[str, Literal["low"]]] = {"chamfer-l1": "low"}

    def __init__(self, points: int) -> None:
        self.points = points

    def __call__(self, pair: ReconstructionPair) -> dict[str, float]:
        if pair.measured_prediction.empty:
            return {"chamfer-l1": float("inf")}
        forth, _, back, _ = pair.nearest(self.points)
        return {"chamfer-l1": float(forth.mean() + back.mean()) / 2}


class NormalConsistency:
    """Agreement of the surfaces' directions.

        NC = (mean over a in A of |n(a) . n(nearest b)|  +  mean over b in B of |n(b) . n(nearest a)|) / 2

    with face normals. Returns `normal-consistency`: 0 to 1 (independent directions: 0.5), high is better; 0 for an
    empty prediction. The absolute value lets flipped normals pass, as in the reference. Cost: shared with Chamfer-L1.
    """

    applies_to: Literal["reconstruction"] = "reconstruction"
    target: ClassVar[Mapping[str, Literal["high"]]] = {"normal-consistency": "high"}

    def __init__(self, points: int) -> None:
        self.points = points

    def __call__(self, pair: ReconstructionPair) -> dict[str, float]:
        if pair.measured_prediction.empty:
            return {"normal-consistency": 0.0}
        _, to_prediction, _, to_truth = pair.nearest(self.points)
        truth = pair.measured_truth.sample(self.points)[1]
        prediction = pair.measured_prediction.sample(self.points)[1]
        forth = np.abs(np.einsum("ni,ni->n", truth, prediction[to_prediction])).mean()
        back = np.abs(np.einsum("ni,ni->n", prediction, truth[to_truth])).mean()
        return {"normal-consistency": float(forth + back) / 2}


class FScore:
    """Harmonic mean of precision and recall within a distance (Tatarchenko et al. 2019, eq. 1-3).

        P = share of B within t of A,  R = share of A within t of B,  F = 2 P R / (P + R)

    Returns `f-score-<t>` for each threshold t: 0 to 1, high is better; 0 for an empty prediction. At t = 0.01 it is
    saturated for livers (a surface blown up by 0.008 still scores 0.999), hence 0.005 and 0.002; at 0.002 the distance
    of the 100,000 points from each other already counts: one liver with itself gives about 0.63.
    Cost: shared with Chamfer-L1.
    """

    applies_to: Literal["reconstruction"] = "reconstruction"

    def __init__(self, points: int, *, thresholds: tuple[float, ...]) -> None:
        self.points = points
        self.thresholds = thresholds
        self.target: Mapping[str, Literal["high"]] = {self._name(threshold): "high" for threshold in thresholds}

    def __call__(self, pair: ReconstructionPair) -> dict[str, float]:
        if pair.measured_prediction.empty:
            return dict.fromkeys(self.target, 0.0)
        forth, _, back, _ = pair.nearest(self.points)
        scores = {}
        for threshold in self.thresholds:
            recall, precision = float((forth <= threshold).mean()), float((back <= threshold).mean())
            both = precision + recall
            scores[self._name(threshold)] = 2 * precision * recall / both if both else 0.0
        return scores

    @staticmethod
    def _name(threshold: float) -> str:
        return f"f-score-{threshold:g}"
