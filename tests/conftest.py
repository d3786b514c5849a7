"""Shared fixtures: a small population of ellipsoids, and the real data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # one process for each core already; read when numpy and torch are loaded
    os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser):
    parser.addoption("--bench", action="store_true", help="run hundreds of trials and clusters, and nothing else")


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("--bench")
    chosen = [item for item in items if (item.get_closest_marker("bench") is not None) == wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real segmentations; the test is skipped where there is none."""
    if not REAL_DATA.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return REAL_DATA


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """A run by the preset `micro`, by one process and to which nothing happened; to be compared with, not changed."""
    from faults import finish

    out = tmp_path_factory.mktemp("reference") / "run"
    finish(out)
    return out


@pytest.fixture
def one_thread():
    """Sums come out in one order, whatever else the machine does."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def icosphere(subdivisions: int = 4):
    """Return a unit sphere as a Surface."""
    import trimesh

    from shapegen.geometry.surface import Surface

    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    return Surface(np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64))


def make_population(folder: Path, count: int, *, samples: int = 8192, seed: int = 0):
    """Write a population of bent ellipsoids of liver-like size with their field samples, and return it."""
    from shapegen.data.placement import CUBE, Placement
    from shapegen.data.population import Population, Shape, write_surface
    from shapegen.geometry.sdf import sample_field
    from shapegen.geometry.surface import signed_volume, volume_centroid
    from shapegen.store import write_arrays

    rng = np.random.default_rng(seed)
    sphere = icosphere(3)
    surfaces = []
    for _ in range(count):
        axes = np.array([90.0, 70.0, 60.0]) * rng.uniform(0.8, 1.2, 3)
        vertices = sphere.vertices * axes
        vertices[:, 2] += rng.uniform(-0.2, 0.2) * vertices[:, 0] ** 2 / axes[0]
        surfaces.append(sphere.moved(vertices))
    kappa = max(np.abs(s.vertices - volume_centroid(s)).max() / signed_volume(s) ** (1 / 3) for s in surfaces) / CUBE
    shapes = []
    for index, surface in enumerate(surfaces):
        placement = Placement(float(kappa * signed_volume(surface) ** (1 / 3)), volume_centroid(surface))
        split = "test" if index % 5 == 4 else "validation" if index % 5 == 3 else "train"
        shape = Shape(
            id=f"ellipsoids/e{index:03d}",
            group=f"e{index:03d}",
            split=split,
            volume_ml=signed_volume(surface) / 1000,
            placement=placement,
            folder=folder,
            meta={},
        )
        write_surface(folder / "surfaces" / shape.file_name, surface)
        points, distances = sample_field(placement.to_canonical(surface), count=samples, sigma=0.02, seed=index)
        write_arrays(folder / "samples" / shape.file_name, {"points": points, "distances": distances})
        shapes.append(shape)
    population = Population("ellipsoids", tuple(shapes))
    population.save(folder)
    return population


@pytest.fixture(scope="session")
def ellipsoids(tmp_path_factory):
    """20 bent ellipsoids: 12 for training, 4 for validation, 4 for testing."""
    return make_population(tmp_path_factory.mktemp("ellipsoids"), 20)
