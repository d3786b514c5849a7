"""Reading meshes and making sound ones of broken ones, against analytic spheres and tori."""

import builtins
import struct

import numpy as np
import pytest
import trimesh

from shapegen.data import meshes
from shapegen.data.repair import defects, surface_from_mesh
from shapegen.errors import UnusableItemError
from shapegen.geometry.surface import (
    Surface,
    component_count,
    is_closed,
    is_oriented,
    signed_volume,
    volume_centroid,
)

RADIUS = 40.0
SPHERE_ML = 4 / 3 * np.pi * RADIUS**3


def sphere(radius=RADIUS, centre=(0, 0, 0), subdivisions=4):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return Surface(np.asarray(mesh.vertices) + centre, np.asarray(mesh.faces, np.int64))


def torus():
    mesh = trimesh.creation.torus(major_radius=40, minor_radius=14, major_sections=96, minor_sections=48)
    return Surface(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64))


def joined(*parts):
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.faces + offset for part, offset in zip(parts, offsets, strict=False)]
    return Surface(np.concatenate([part.vertices for part in parts]), np.concatenate(faces))


def without(surface, share, seed=0):
    keep = np.random.default_rng(seed).random(len(surface.faces)) >= share
    return Surface(surface.vertices, surface.faces[keep])


def with_flipped(surface, share, seed=0):
    faces = surface.faces.copy()
    chosen = np.random.default_rng(seed).random(len(faces)) < share
    faces[chosen] = faces[chosen, ::-1]
    return Surface(surface.vertices, faces)


def with_doubled(surface, share, seed=0):
    chosen = np.random.default_rng(seed).random(len(surface.faces)) < share
    return Surface(surface.vertices, np.concatenate([surface.faces, surface.faces[chosen]]))


def with_inner_sheet(surface):
    """A disc of faces inside, hanging on nothing."""
    disc = trimesh.creation.cylinder(radius=20, height=0.01, sections=24)
    sheet = Surface(np.asarray(disc.vertices, float), np.asarray(disc.faces, np.int64)[:40])
    return joined(surface, sheet)


def save(surface, path):
    trimesh.Trimesh(surface.vertices, surface.faces, process=False).export(path)
    return path


@pytest.mark.parametrize("suffix", meshes.TRIMESH_SUFFIXES)
def test_every_format_gives_the_same_closed_surface(tmp_path, suffix):
    original = sphere(centre=(10, -20, 30), subdivisions=3)
    surface, frame = meshes.read_surface(save(original, tmp_path / f"a{suffix}"))
    assert is_closed(surface)
    assert is_oriented(surface)
    assert signed_volume(surface) == pytest.approx(signed_volume(original), rel=1e-5)
    np.testing.assert_allclose(volume_centroid(surface), (10, -20, 30), atol=1e-3)
    assert frame == {"frame": "ras", "frame_from": "default"}


@pytest.mark.parametrize(("suffix", "library"), [(".vtk", "pyvista"), (".vtp", "pyvista")])
def test_vtk_files_are_read_or_say_what_to_install(tmp_path, suffix, library, monkeypatch):
    path = tmp_path / f"a{suffix}"
    path.write_text("# vtk DataFile Version 3.0\n")
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == library:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UnusableItemError, match=r"needs pyvista.*pip install 'shapegen\[vtk\]'"):
        meshes.read_surface(path)


def test_vtp_round_trip(tmp_path):
    pyvista = pytest.importorskip("pyvista")
    pyvista.Sphere(radius=RADIUS).save(tmp_path / "a.vtp")
    surface, _ = meshes.read_surface(tmp_path / "a.vtp")
    assert is_closed(surface)


@pytest.mark.parametrize(
    ("header", "option", "flipped", "origin"),
    [
        (b"3D Slicer output. SPACE=LPS", None, True, "file"),
        (b"3D Slicer output. SPACE=RAS", None, False, "file"),
        (b"exported by something", None, False, "default"),
        (b"exported by something", "lps", True, "option"),
        (b"3D Slicer output. SPACE=LPS", "ras", False, "option"),
    ],
)
def test_the_frame_is_what_the_option_or_else_the_file_says(tmp_path, header, option, flipped, origin):
    path = save(sphere(centre=(10, -20, 30), subdivisions=2), tmp_path / "a.stl")
    path.write_bytes(header.ljust(80, b"\0") + path.read_bytes()[80:])
    surface, frame = meshes.read_surface(path, frame=option)
    np.testing.assert_allclose(volume_centroid(surface), (-10, 20, 30) if flipped else (10, -20, 30), atol=1e-3)
    assert signed_volume(surface) > 0
    assert frame == {"frame": "lps" if flipped else "ras", "frame_from": origin}


def test_slicers_comment_in_an_obj_is_honoured(tmp_path):
    path = save(sphere(centre=(10, 0, 0), subdivisions=2), tmp_path / "a.obj")
    path.write_text("# 3D Slicer output. SPACE=LPS\n" + path.read_text())
    assert volume_centroid(meshes.read_surface(path)[0])[0] == pytest.approx(-10, abs=1e-3)


def test_scale_takes_metres_to_mm(tmp_path):
    path = save(sphere(RADIUS / 1000, subdivisions=3), tmp_path / "a.ply")
    surface, _ = meshes.read_surface(path, scale=1000)
    assert signed_volume(surface) == pytest.approx(signed_volume(sphere(subdivisions=3)), rel=1e-4)


def damaged_binary(path):
    save(sphere(subdivisions=2), path)
    path.write_bytes(path.read_bytes()[:200])


def lying_count(path):
    path.write_bytes(b"\0" * 80 + struct.pack("<I", 10**9) + b"\0" * 50)


def text_only(path):
    path.write_text("hello, I am no mesh")


def nothing(path):
    path.write_bytes(b"")


def no_faces(path):
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")


def not_finite(path):
    path.write_text("v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n")


def face_beyond(path):
    path.write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n")


@pytest.mark.parametrize(
    ("make", "suffix"),
    [
        (damaged_binary, ".stl"),
        (damaged_binary, ".ply"),
        (damaged_binary, ".glb"),
        (lying_count, ".stl"),
        (text_only, ".stl"),
        (text_only, ".ply"),
        (text_only, ".glb"),
        (nothing, ".stl"),
        (nothing, ".obj"),
        (no_faces, ".obj"),
        (not_finite, ".obj"),
        (face_beyond, ".off"),
    ],
)
def test_an_unreadable_mesh_is_refused_in_one_line_with_advice(tmp_path, make, suffix):
    path = tmp_path / f"a{suffix}"
    make(path)
    with pytest.raises(UnusableItemError) as caught:
        meshes.read_surface(path)
    assert caught.value.advice
    assert "\n" not in str(caught.value)


def test_a_sound_mesh_is_kept_as_it_is():
    original = sphere()
    surface, report = surface_from_mesh(original)
    assert surface is original
    assert report["repairs"] == []


def test_an_inside_out_mesh_is_turned():
    surface, report = surface_from_mesh(sphere().flipped())
    assert signed_volume(surface) == pytest.approx(signed_volume(sphere()))
    assert report["repairs"] == ["turned all faces outwards"]


@pytest.mark.parametrize("inner", [sphere(15), sphere(15).flipped()], ids=["solid in solid", "cavity"])
def test_inner_shells_are_removed(inner):
    surface, report = surface_from_mesh(joined(sphere(), inner))
    assert component_count(surface) == 1
    assert signed_volume(surface) == pytest.approx(signed_volume(sphere()))
    assert "largest of 2 shells" in report["repairs"][0]


BROKEN = {
    "holes": lambda s: without(s, 0.01),
    "many holes": lambda s: without(s, 0.04),
    "flipped faces": lambda s: with_flipped(s, 0.05),
    "half of the faces flipped": lambda s: with_flipped(s, 0.5),
    "doubled faces": lambda s: with_doubled(s, 0.1),
    "holes, flipped and doubled": lambda s: with_doubled(with_flipped(without(s, 0.01), 0.03), 0.05),
    "an inner sheet": with_inner_sheet,
    "a crumb and a hole": lambda s: joined(without(s, 0.01), sphere(3, (60, 60, 0), 2)),
    "an open cavity": lambda s: joined(s, without(sphere(12), 0.02).flipped()),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_sphere_becomes_a_sphere(name):
    broken = BROKEN[name](sphere())
    assert defects(broken) != "none"
    surface, report = surface_from_mesh(broken, voxel_mm=2.0)
    assert is_closed(surface)
    assert is_oriented(surface)
    assert component_count(surface) == 1
    assert signed_volume(surface) == pytest.approx(SPHERE_ML, rel=0.01)
    np.testing.assert_allclose(np.linalg.norm(surface.vertices, axis=1), RADIUS, atol=2.0)
    assert report["gap_mm"]["mean"] < 0.2
    assert "remade by winding number" in report["repairs"][0]


def test_a_broken_torus_keeps_its_hole():
    surface, _ = surface_from_mesh(without(torus(), 0.02), voxel_mm=2.0)
    euler = len(surface.vertices) - len(surface.faces) // 2
    assert euler == 0
    assert signed_volume(surface) == pytest.approx(2 * np.pi**2 * 40 * 14**2, rel=0.02)


@pytest.mark.parametrize(("radius", "says"), [(0.1, "scale: 1000"), (1e-4, "no organ is"), (4e4, "scale: 0.001")])
def test_a_mesh_of_another_unit_is_refused_with_advice(radius, says):
    with pytest.raises(UnusableItemError, match=says):
        surface_from_mesh(sphere(radius, subdivisions=2))


def test_an_open_sheet_encloses_nothing():
    flat = Surface(np.array([[0, 0, 0], [50, 0, 0], [0, 50, 0], [50, 50, 0.0]]), np.array([[0, 1, 2], [2, 1, 3]]))
    with pytest.raises(UnusableItemError, match=r"encloses no volume|too small"):
        surface_from_mesh(flat)
