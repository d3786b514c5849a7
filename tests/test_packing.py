"""Meshes as a page holds them: what comes out is what went in, as finely as it is promised."""

from __future__ import annotations

import base64
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import icosphere
from packed import unpack
from shapegen.geometry.surface import Surface, area, is_closed, signed_volume
from shapegen.report.packing import LEVELS, Painted, pack, thinned, thinned_values


def triangles(vertices: np.ndarray, faces: np.ndarray, step: float) -> list[tuple[int, ...]]:
    """Return the triangles as sorted tuples of whole steps, each turned to begin with its smallest corner."""
    corners = np.rint(vertices[faces] / step).astype(int).tolist()
    turned = [min(c[k:] + c[:k] for k in range(3)) for c in corners]
    return sorted(tuple(chain.from_iterable(each)) for each in turned)


@given(seed=st.integers(0, 10_000), count=st.integers(3, 60), size=st.sampled_from([1e-3, 1.0, 300.0]))
def test_a_packed_surface_comes_back(seed, count, size):
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(count, 3)) * size + rng.normal(size=3) * 100
    faces = np.stack([rng.permutation(count)[:3] for _ in range(2 * count)])
    values = rng.uniform(0, 9, count)
    mesh = pack(Surface(vertices, faces), values)
    found, corners, painted = unpack(mesh)
    assert mesh["vertices"] == len(np.unique(faces))
    # the corner and the middle are written to a thousandth of a mm
    nearest = np.abs(found[:, None] - vertices[np.unique(faces)][None]).max(axis=2)
    assert (nearest.min(axis=1) <= 0.6 * mesh["step"] + 1.1e-3).all()
    assert mesh["step"] * LEVELS == pytest.approx(np.ptp(vertices[np.unique(faces)], axis=0).max())
    assert len(corners) == len(faces)
    if size == 300.0:
        order = np.unique(faces)[nearest.argmin(axis=1)]
        assert triangles(vertices, order[corners], 1e-6) == triangles(vertices, faces, 1e-6)
        assert np.abs(painted - values[order]).max() <= 0.51 * values[np.unique(faces)].max() / 255


def test_orientation_is_kept():
    sphere = icosphere(2)
    vertices, faces, _ = unpack(pack(sphere.moved(sphere.vertices * 50)))
    assert signed_volume(Surface(vertices, faces)) == pytest.approx(
        signed_volume(sphere.moved(sphere.vertices * 50)), rel=1e-3
    )


def test_a_packed_face_takes_less_than_is_reckoned():
    from shapegen.report.viewer import FACE_BYTES

    sphere = icosphere(5)
    bumps = 1 + 0.05 * np.sin(9 * sphere.vertices).prod(axis=1, keepdims=True)
    whole = sphere.moved(sphere.vertices * bumps * (90, 70, 60))
    for faces in (2000, 4000, 20_000):
        surface = thinned(whole, faces)
        mesh = pack(surface, np.linalg.norm(surface.vertices, axis=1))
        assert len(base64.b64decode(mesh["data"])) > 0
        assert len(mesh["data"]) < FACE_BYTES * faces


@pytest.mark.parametrize("place", [0.0, 50_000.0])
def test_a_thinned_sphere_is_still_one(place):
    whole = icosphere(6)  # 81,920 faces
    whole = whole.moved(whole.vertices * 80 + place)
    found = thinned(whole, 4000)
    assert len(found.faces) <= 4000
    assert is_closed(found)
    radii = np.linalg.norm(found.vertices - place, axis=1)
    assert np.abs(radii - 80).max() < 0.3
    assert area(found) == pytest.approx(4 * np.pi * 80**2, rel=0.03)
    assert thinned(found, 4000) is found


def test_a_soup_of_faces_is_thinned_too():
    sphere = icosphere(5)
    soup = Surface(sphere.triangles.reshape(-1, 3) * 80, np.arange(3 * len(sphere.faces)).reshape(-1, 3))
    found = thinned(soup, 3000)
    assert 0 < len(found.faces) <= 6000
    assert len(pack(found)["data"]) > 0


def test_values_go_to_the_nearest_vertices():
    whole = icosphere(5)
    height = np.abs(whole.vertices[:, 2])
    surface = thinned(whole, 2000)
    values = thinned_values(Painted(whole, height), surface)
    assert np.abs(values - np.abs(surface.vertices[:, 2])).max() < 0.05
