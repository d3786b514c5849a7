"""The features that distances between sets can be computed on, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from shapegen.evaluation import GenerationSets
from shapegen.metrics.features import CloudFeatures, Features, SetName
from shapegen.metrics.morphometrics import Morphometrics
from shapegen.store import sha256_file

FeaturesName = Literal["organ-network", "morphometric", "pointnet2-ssg"]
Scale = Literal["cube", "ball"]


@dataclass(frozen=True, slots=True)
class MorphometricFeatures:
    """Volume, extents, form, curvature and thickness, each less the training set's mean, over its standard deviation.

    The only features that know of size: shapes are measured in mm. Width 16; see `shapegen.metrics.morphometrics`.
    """

    measured: Morphometrics = field(default_factory=Morphometrics)
    name: str = "morphometric"

    def __call__(self, sets: GenerationSets, which: SetName) -> NDArray[np.float64]:
        """Return the standardised numbers [n, 16] of a set.

        Raises:
            ValueError: fewer than two training shapes, or all alike in one of the numbers.
        """
        rows, training = (s.bank.measured(s, self.measured) for s in (sets.set(which), sets.training))
        spread = training.std(axis=0, ddof=1) if len(training) > 1 else np.zeros(training.shape[1])
        if not (spread > 0).all():
            raise ValueError(f"expected training shapes that differ in every number, got {len(training)} alike in one")
        return (rows - training.mean(axis=0)) / spread


def organ_network(weights: Path | None, points: int | None, scale: Scale) -> Features:
    """Return the features of the small network; without weights, of that which comes with the liver."""
    from shapegen_plugins.organ_network import WIDTH, embedding, load_organ_network

    path = weights or shipped()
    network = load_organ_network(path)
    return CloudFeatures("organ-network", sha256_file(path)[:12], WIDTH, embedding(network), points, batch=32)


def pointnet2_ssg(weights: Path | None, points: int | None, scale: Scale) -> Features:
    """Return the features of the published classifier, 256 of them."""
    from shapegen_plugins.organ_network import embedding
    from shapegen_plugins.pointnet2 import WIDTH, load_pointnet2

    network = load_pointnet2(weights, scale=scale)
    version = f"{scale}-{sha256_file(weights)[:12]}" if weights else ""
    return CloudFeatures("pointnet2-ssg", version, WIDTH, embedding(network), points)


def morphometric(weights: Path | None, points: int | None, scale: Scale) -> Features:
    """Return the standardised morphometrics."""
    return MorphometricFeatures()


_BUILDERS: Mapping[FeaturesName, Callable[[Path | None, int | None, Scale], Features]] = {
    "organ-network": organ_network,
    "morphometric": morphometric,
    "pointnet2-ssg": pointnet2_ssg,
}
assert tuple(_BUILDERS) == get_args(FeaturesName)


def build_features(
    name: FeaturesName, *, weights: str | None = None, points: int | None = None, scale: Scale = "cube"
) -> Features:
    """Return features by name.

    Args:
        name: of the features.
        weights: safetensors file of a network; needed for "pointnet2-ssg".
        points: of a shape, for networks; None: as many as the sets give.
        scale: what "pointnet2-ssg" does to its input, see there.

    Raises:
        ConfigError: weights are needed but not given, or are no safetensors file.
        CorruptFileError: the file does not hold the network.
    """
    return _BUILDERS[name](Path(weights) if weights else None, points, scale)


def shipped() -> Path:
    """Return where the liver's feature network lies."""
    from importlib.util import find_spec

    organs = find_spec("shapegen_organs")
    folder = Path(organs.origin).parent if organs and organs.origin else Path("shapegen_organs")
    return folder / "liver_features.safetensors"
