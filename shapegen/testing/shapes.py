"""Analytic shapes for the checks: bent ellipsoids of a liver's size, as surfaces, a population, sets and a pair."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np

from shapegen.data.placement import CUBE, Placement
from shapegen.data.population import Population, Shape, Split, write_surface
from shapegen.evaluation import GenerationSets, ReconstructionPair
from shapegen.geometry.sdf import sample_field
from shapegen.geometry.surface import Surface, signed_volume, volume_centroid
from shapegen.metrics.bank import ShapeBank
from shapegen.store import derived_seed, write_arrays

AXES = np.array([90.0, 70.0, 60.0])
SPLITS: tuple[Split, ...] = ("train", "train", "train", "validation", "train", "train", "test", "validation")
EACH = 8
"""Shapes in each of the three sets."""


@functools.cache
def _sphere(subdivisions: int) -> Surface:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    return Surface(np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64))


@functools.cache
def blob(name: str) -> Surface:
    """Return a bent ellipsoid in mm whose axes depend on its name."""
    rng = np.random.default_rng(derived_seed(0, name))
    axes = AXES * rng.uniform(0.75, 1.25, 3)
    sphere = _sphere(3)
    vertices = sphere.vertices * axes
    vertices[:, 2] += rng.uniform(-0.2, 0.2) * vertices[:, 0] ** 2 / axes[0]
    return sphere.moved(vertices)


@functools.cache
def population() -> Population:
    """Return eight shapes with their field samples, in a folder that goes with the process."""
    folder = Path(_folder().name)
    surfaces = [blob(f"shape {number}") for number in range(len(SPLITS))]
    widest = max(np.abs(s.vertices - volume_centroid(s)).max() / signed_volume(s) ** (1 / 3) for s in surfaces) / CUBE
    shapes = []
    for number, (surface, split) in enumerate(zip(surfaces, SPLITS, strict=True)):
        placement = Placement(float(widest * signed_volume(surface) ** (1 / 3)), volume_centroid(surface))
        shape = Shape(
            id=f"ellipsoids/{number}",
            group=str(number),
            split=split,
            volume_ml=signed_volume(surface) / 1000,
            placement=placement,
            folder=folder,
        )
        write_surface(folder / "surfaces" / shape.file_name, surface)
        points, distances = sample_field(placement.to_canonical(surface), count=2048, sigma=0.02, seed=number)
        write_arrays(folder / "samples" / shape.file_name, {"points": points, "distances": distances})
        shapes.append(shape)
    return Population("ellipsoids", tuple(shapes))


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="shapegen-shapes-", ignore_cleanup_errors=True)


@functools.cache
def _bank() -> ShapeBank:
    names = [f"{kind} {number}" for kind in ("generated", "reference", "training") for number in range(EACH)]
    return ShapeBank(names, blob, workers=1)


def sets(*, generated: str = "generated", shuffled: bool = False) -> GenerationSets:
    """Return three sets of shapes of one distribution; what is measured on them is shared by all checks.

    Args:
        generated: "reference" makes the generated shapes the references themselves.
        shuffled: in another order.
    """
    order = np.random.default_rng(0).permutation(EACH) if shuffled else np.arange(EACH)
    made, real, training = (
        _bank().of([f"{kind} {number}" for number in range(EACH)]).take(order)
        for kind in (generated, "reference", "training")
    )
    return GenerationSets(made, real, training, count=512, reconstruct=blob)


def pair(*, prediction: str = "same") -> ReconstructionPair:
    """Return a surface in the canonical cube with its prediction: the "same", a "moved" and smaller one, or "empty"."""
    surface = blob("truth")
    scale = 1.05 * float(np.abs(surface.vertices).max()) / CUBE
    truth = surface.moved(surface.vertices / scale)
    made = {
        "same": truth,
        "moved": truth.moved(0.7 * truth.vertices + 0.05),
        "empty": Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)),
    }
    return ReconstructionPair(truth, made[prediction], mm_per_unit=scale, resolution=32, workers=1)
