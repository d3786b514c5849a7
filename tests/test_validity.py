"""Genus, checks and shares of surfaces whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from shapegen.geometry.surface import Surface
from shapegen.metrics.statistics import wilson_interval
from shapegen.metrics.validity import CHECKS, cheap_facts, costly_facts, euler_number, genus, passed, shares
from tests.conftest import icosphere
from tests.test_planar import cut_sphere
from tests.test_self_intersections import joined

LIMITS = (100.0, 5000.0)


def surface_of(mesh):
    return Surface(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64))


def liver(scale=80.0):
    sphere = icosphere(4)
    return sphere.moved(sphere.vertices * [scale, 0.8 * scale, 0.6 * scale])


def checked(surface):
    return passed({**cheap_facts(surface), **costly_facts(surface)}, LIMITS)


@pytest.mark.parametrize("handles", [0, 1, 2, 5])
def test_genus_of_bodies_with_holes(handles):
    """Plates of voxels with holes through them, and scikit-image's count on the same voxels."""
    from skimage.measure import euler_number as voxel_euler_number
    from skimage.measure import marching_cubes

    plate = np.zeros((5, 5, 4 * handles + 5))
    plate[1:-1, 1:-1, 1:-1] = 1
    for k in range(handles):
        plate[:, 2, 3 + 4 * k] = 0
    vertices, faces, _, _ = marching_cubes(plate, 0.5)
    surface = Surface(vertices.astype(float), faces.astype(np.int64))
    assert genus(surface) == handles
    assert euler_number(surface) == 2 - 2 * handles
    assert 1 - handles == voxel_euler_number(plate.astype(bool), connectivity=1)
    assert euler_number(surface) == trimesh.Trimesh(vertices, faces).euler_number


def test_genus_of_several_components_and_of_what_has_none():
    torus = surface_of(trimesh.creation.torus(1.0, 0.3))
    assert genus(torus) == 1
    far = torus.moved(torus.vertices + np.array([9.0, 0, 0]))
    assert genus(joined(torus, far)) == 2
    assert genus(joined(icosphere(2), far)) == 1
    opened = Surface(torus.vertices, torus.faces[1:])
    assert genus(opened) is None
    a, b = icosphere(1), icosphere(1)
    kissing = joined(a, b.moved(b.vertices + a.vertices[0] - b.vertices[1]))
    kissing.faces[kissing.faces == len(a.vertices) + 1] = 0  # two spheres that share one vertex
    assert genus(kissing) is None


def test_a_sound_shape_passes_everything():
    assert all(checked(liver()).values())


@pytest.mark.parametrize(
    ("broken", "failing"),
    [
        (lambda: liver(20), {"volume_in_range"}),
        (lambda: joined(liver(), liver(20).moved(liver(20).vertices + np.array([150.0, 0, 0]))), {"one_component"}),
        (lambda: Surface(liver().vertices, liver().faces[1:]), {"closed", "oriented", "genus_zero"}),
        (
            lambda: surface_of(trimesh.creation.torus(80.0, 30.0, major_sections=64, minor_sections=48)),
            {"genus_zero"},
        ),
        (lambda: cut_sphere(0.6), {"no_planar_cut"}),
        (lambda: liver().flipped(), {"volume_in_range"}),
    ],
)
def test_each_defect_fails_its_check(broken, failing):
    found = checked(broken())
    assert {name for name in CHECKS if not found[name]} == failing
    assert not found["flawless"]
    assert found["valid"] == failing.isdisjoint({"closed", "oriented", "one_component", "volume_in_range"})


def test_a_shape_that_passes_through_itself():
    surface = liver()
    vertices = surface.vertices.copy()
    vertices[vertices[:, 2].argmax(), 2] = vertices[:, 2].min() - 5
    found = checked(surface.moved(vertices))
    assert [name for name in CHECKS if not found[name]] == ["no_self_intersections"]


def test_shares_count_empty_shapes_and_have_wilson_intervals():
    facts = [{**cheap_facts(each), **costly_facts(each)} for each in (liver(), liver(20), cut_sphere(0.6))]
    found = shares([*facts, {"empty": True}], LIMITS)
    assert (found["n"], found["empty"]) == (4, 1)
    assert found["valid"]["count"] == 2
    assert found["flawless"]["count"] == 1
    assert found["closed"] == {"count": 3, **wilson_interval(3, 4).to_json()}
    assert shares([], LIMITS) == {"n": 0, "empty": 0}


def test_cheap_facts_are_what_the_sample_stage_writes():
    import torch

    from shapegen.drawing import facts_of
    from shapegen.generator import Sample

    written = facts_of(Sample(torch.zeros(1, 1), torch.zeros(1), 250.0, liver()))
    assert {key: written[key] for key in cheap_facts(liver())} == cheap_facts(liver())
