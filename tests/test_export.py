"""Meshes survive the way through each file format, and other readers see what the format promises."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
import trimesh

from shapegen.errors import CorruptFileError, ShapegenError
from shapegen.geometry.export import read_mesh, write_mesh
from shapegen.geometry.surface import Surface, is_closed, is_oriented, signed_volume

SUFFIXES = [".ply", ".stl", ".obj", ".off", ".glb"]
if find_spec("pyvista"):
    SUFFIXES += [".vtk", ".vtp"]


def organ() -> Surface:
    """A sphere of 60 mm stretched to an ellipsoid, off the origin as scanner coordinates are."""
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=60)
    return Surface(
        np.asarray(sphere.vertices) * [1.5, 1.0, 0.7] + [-120.0, 35.0, 410.0], np.asarray(sphere.faces, dtype=np.int64)
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("frame", ["ras", "lps"])
def test_round_trip(tmp_path, suffix, frame):
    surface = organ()
    path = tmp_path / "deep" / f"organ{suffix}"
    write_mesh(path, surface, frame=frame)
    back = read_mesh(path)
    assert is_closed(back)
    assert is_oriented(back)
    assert len(back.vertices) == len(surface.vertices)
    assert len(back.faces) == len(surface.faces)
    # The same triangles in the same order with the same corner first, whatever became of the vertices' order.
    np.testing.assert_allclose(back.triangles, surface.triangles, atol=1e-4)
    assert signed_volume(back) == pytest.approx(signed_volume(surface), rel=1e-5)
    assert back.vertices.dtype == np.float64
    assert back.faces.dtype == np.int64


@pytest.mark.parametrize("suffix", [".ply", ".off", ".glb"])
def test_indexed_formats_keep_the_order_of_vertices(tmp_path, suffix):
    surface = organ()
    write_mesh(tmp_path / f"a{suffix}", surface)
    back = read_mesh(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.faces, surface.faces)
    np.testing.assert_allclose(back.vertices, surface.vertices, atol=1e-4)


@pytest.mark.parametrize("suffix", [".ply", ".stl", ".obj", ".off"])
@pytest.mark.parametrize(("frame", "signs"), [("ras", [1, 1, 1]), ("lps", [-1, -1, 1])])
def test_another_reader_sees_mm_in_the_stated_axes(tmp_path, suffix, frame, signs):
    surface = organ()
    path = tmp_path / f"a{suffix}"
    write_mesh(path, surface, frame=frame)
    assert f"SPACE={frame.upper()}".encode() in path.read_bytes()[:200]
    seen = trimesh.load(path, force="mesh")
    expected = surface.vertices * signs
    np.testing.assert_allclose(seen.bounds, [expected.min(axis=0), expected.max(axis=0)], atol=1e-4)
    assert seen.is_watertight
    assert seen.volume == pytest.approx(signed_volume(surface), rel=1e-5)


def test_glb_is_metres_with_the_head_up_and_the_front_towards_the_viewer(tmp_path):
    surface = organ()
    path = tmp_path / "a.glb"
    write_mesh(path, surface, frame="lps")
    seen = trimesh.load(path, force="mesh")
    right, anterior, superior = surface.vertices.T / 1000
    expected = np.stack([-right, superior, anterior], axis=1)
    np.testing.assert_allclose(seen.bounds, [expected.min(axis=0), expected.max(axis=0)], atol=1e-6)
    assert seen.volume == pytest.approx(signed_volume(surface) * 1e-9, rel=1e-5)
    content = path.read_bytes()
    assert len(content) == int.from_bytes(content[8:12], "little")
    document = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    assert document["asset"]["extras"]["positions"].startswith("mm, RAS")
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])


def test_stl_normals_point_outwards(tmp_path):
    surface = organ()
    write_mesh(tmp_path / "a.stl", surface)
    content = (tmp_path / "a.stl").read_bytes()
    assert len(content) == 84 + 50 * len(surface.faces)
    rows = np.frombuffer(content[84:], dtype=[("n", "<f4", 3), ("c", "<f4", (3, 3)), ("a", "<u2")])
    outwards = rows["c"].mean(axis=1) - surface.vertices.mean(axis=0)
    assert (np.einsum("fi,fi->f", rows["n"], outwards) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(rows["n"], axis=1), 1, atol=1e-5)


def test_a_file_without_statement_is_taken_as_ras(tmp_path):
    box = trimesh.creation.box(extents=(10, 20, 30), transform=trimesh.transformations.translation_matrix([5, 6, 7]))
    box.export(tmp_path / "box.stl")
    back = read_mesh(tmp_path / "box.stl")
    np.testing.assert_allclose(back.vertices.min(axis=0), [0, -4, -8])
    assert len(back.vertices) == 8
    assert is_closed(back)


def test_writing_replaces_a_file_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "a.PLY"
    path.write_bytes(b"old")
    write_mesh(path, organ())
    assert len(read_mesh(path).faces) == len(organ().faces)
    assert [p.name for p in tmp_path.iterdir()] == ["a.PLY"]


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.ply.gz"])
def test_an_unknown_suffix_says_which_are_known(tmp_path, name):
    with pytest.raises(ShapegenError, match=r"\.ply, \.stl, \.obj"):
        write_mesh(tmp_path / name, organ())
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ShapegenError, match=r"\.ply, \.stl, \.obj"):
        read_mesh(tmp_path / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("left", [0, 10, 90, 2000])
def test_a_truncated_file_is_corrupt_not_a_crash(tmp_path, suffix, left):
    path = tmp_path / f"a{suffix}"
    write_mesh(path, organ())
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CorruptFileError, match="a" + suffix.replace(".", r"\.")):
        read_mesh(path)


def test_nothing_and_nan_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no mesh"):
        write_mesh(tmp_path / "a.ply", Surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)))
    surface = organ()
    surface.vertices[3, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        write_mesh(tmp_path / "a.ply", surface)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        read_mesh(tmp_path / "a.ply")
