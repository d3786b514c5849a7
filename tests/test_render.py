"""Pictures against what geometry says: silhouettes, depth, handedness, and a brute-force ray caster."""

from __future__ import annotations

import io

import numpy as np
import pytest

from shapegen.geometry.surface import Surface
from shapegen.report.contact_sheet import contact_sheet, draw
from shapegen.report.render import VIEWS, _visible_faces, common_extent, png, render, view_axes


def sphere(radius=1.0, subdivisions=4):
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return Surface(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64))


def boxes(*extents_and_centres):
    """Return boxes as one surface."""
    import trimesh

    parts = [
        trimesh.creation.box(extents, transform=trimesh.transformations.translation_matrix(centre))
        for extents, centre in extents_and_centres
    ]
    mesh = trimesh.util.concatenate(parts)
    return Surface(np.asarray(mesh.vertices, float), np.asarray(mesh.faces, np.int64))


def covered(surface, **options):
    """Return the coverage [h, w] in 0 to 1."""
    return render(surface, background=None, **options)[..., 3] / 255.0


@pytest.mark.parametrize("view", list(VIEWS))
def test_silhouette_of_a_sphere_has_its_area(view):
    coverage = covered(sphere(50.0), view=view, size=(300, 240), extent_mm=150.0)
    assert coverage.sum() * (150.0 / 300) ** 2 == pytest.approx(np.pi * 50.0**2, rel=0.01)
    rows, columns = np.nonzero(coverage)
    weights = coverage[rows, columns]
    assert np.average(columns + 0.5, weights=weights) == pytest.approx(150, abs=0.1)
    assert np.average(rows + 0.5, weights=weights) == pytest.approx(120, abs=0.1)


def test_no_holes_inside_a_silhouette():
    coverage = covered(sphere(50.0, subdivisions=5), size=(400, 400), extent_mm=110.0)
    y, x = (np.mgrid[:400, :400] + 0.5 - 200) * (110.0 / 400)
    assert (coverage[np.hypot(x, y) < 49] == 1).all()
    assert (coverage[np.hypot(x, y) > 51] == 0).all()


def test_edges_are_antialiased():
    coverage = covered(sphere(50.0), size=(200, 200), extent_mm=120.0)
    assert {0.25, 0.5, 0.75} <= set(np.round(np.unique(coverage), 2))


def test_shading_is_smooth_and_falls_off_towards_the_edge():
    image = render(sphere(50.0), size=(201, 201), extent_mm=120.0, colour=(200, 200, 200)).astype(int)
    centre, edge = image[100, 100, 0], image[100, 182, 0]
    assert centre > edge + 40
    # the light comes from the upper left
    assert image[60, 60, 0] > image[140, 140, 0] + 20
    inner = image[60:140, 60:140, 0]
    assert np.abs(np.diff(inner, axis=0)).max() <= 6
    assert np.abs(np.diff(inner, axis=1)).max() <= 6


def test_the_nearer_surface_hides_the_farther_one():
    # seen from the front (+y), a small box stands before a large one
    scene = boxes(((80, 4, 80), (0, 0, 0)), ((20, 4, 20), (0, 30, 0)))
    paint = np.repeat([[40.0, 40, 220], [220, 40, 40]], [8, 8], axis=0)
    front = render(scene, view="anterior", size=(100, 100), extent_mm=100.0, colour=paint)
    back = render(scene, view="posterior", size=(100, 100), extent_mm=100.0, colour=paint)
    assert front[50, 50, 0] > front[50, 50, 2]
    assert front[50, 20, 2] > front[50, 20, 0]
    assert back[50, 50, 2] > back[50, 50, 0]


@pytest.mark.parametrize(
    ("view", "corner_left", "corner_up"),
    [
        # a marker at the patient's right, front, top; where it must be seen
        ("anterior", True, True),
        ("posterior", False, True),
        ("superior", True, False),
        ("inferior", True, True),
        ("left", True, True),
        ("right", False, True),
    ],
)
def test_anatomical_views_are_the_right_way_round(view, corner_left, corner_up):
    shape = boxes(((10, 10, 10), (-45, -45, -45)), ((10, 10, 10), (45, 45, 45)))
    marker = np.repeat([[0.0, 0, 255], [255, 0, 0]], [8, 8], axis=0)
    image = render(shape, view=view, size=(100, 100), extent_mm=110.0, colour=marker).astype(int)
    red = (image[..., 0] > image[..., 2] + 50).astype(float)
    rows, columns = np.nonzero(red)
    assert (columns.mean() < 50) == corner_left
    assert (rows.mean() < 50) == corner_up


def test_an_l_in_the_patient_is_an_l_in_the_anterior_view():
    # the stroke upwards lies at the patient's right (+x), the foot points to the patient's left: an L on the page
    letter = boxes(((20, 10, 100), (40, 0, 0)), ((100, 10, 20), (0, 0, -40)))
    coverage = covered(letter, view="anterior", size=(100, 100), extent_mm=120.0)
    assert coverage[20, 20] == 1
    assert coverage[20, 80] == 0
    assert coverage[82, 80] == 1


def test_view_axes_are_right_handed():
    for view in VIEWS:
        assert np.linalg.det(view_axes(view)) == pytest.approx(1.0)


def test_visible_faces_agree_with_a_brute_force_caster():
    rng = np.random.default_rng(3)
    corners = np.concatenate([rng.uniform(-5, 37, (60, 3, 2)), rng.uniform(0, 1, (60, 3, 1))], axis=2)
    width, height = 32, 28
    got = _visible_faces(np.transpose(corners, (2, 1, 0)), width=width, height=height)
    expected = np.full(width * height, -1)
    for pixel in range(width * height):
        x, y, best = pixel % width + 0.5, pixel // width + 0.5, np.inf
        for face, triangle in enumerate(corners):
            matrix = np.vstack([triangle[:, :2].T, np.ones(3)])
            weights = np.linalg.solve(matrix, [x, y, 1.0])
            depth = weights @ triangle[:, 2]
            if (weights >= 0).all() and depth < best:
                expected[pixel], best = face, depth
    assert (expected >= 0).any()
    assert np.array_equal(got, expected)


def test_both_sides_of_open_and_flipped_surfaces_are_drawn():
    ball = sphere(50.0)
    flipped = ball.flipped()
    options = {"size": (120, 120), "extent_mm": 120.0}
    assert np.array_equal(covered(ball, **options), covered(flipped, **options))
    difference = render(ball, **options).astype(int) - render(flipped, **options).astype(int)
    assert np.abs(difference).max() <= 1


def test_degenerate_input_gives_an_empty_picture():
    empty = Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    assert (render(empty, size=(20, 10)) == 255).all()
    line = Surface(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]]))
    assert render(line, size=(20, 10)).shape == (10, 20, 3)
    assert covered(empty, size=(20, 10)).sum() == 0


@pytest.mark.parametrize("options", [{"view": "front"}, {"size": (0, 10)}, {"extent_mm": 0.0}, {"extent_mm": -3.0}])
def test_impossible_options_are_errors(options):
    with pytest.raises(ValueError, match="expected"):
        render(sphere(), **options)


def test_common_extent_holds_every_shape():
    shapes = [sphere(50.0), boxes(((200, 20, 30), (0, 0, 0)))]
    extent = common_extent(shapes, views=("anterior", "left"), margin=1.1)
    assert extent == pytest.approx(220.0)
    for shape in shapes:
        coverage = covered(shape, size=(64, 64), extent_mm=extent)
        assert not coverage[:, [0, -1]].any()


def test_scale_bar_has_its_length():
    empty = Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    image = render(empty, size=(200, 160), extent_mm=200.0, bar_mm=50.0)
    dark = (image < 200).all(axis=2)
    columns = np.nonzero(dark.any(axis=0))[0]
    assert columns[-1] - columns[0] + 1 == 50


def test_png_round_trip():
    from PIL import Image

    image = render(sphere(), size=(30, 20), background=None)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(image)))), image)


def test_contact_sheet_keeps_one_scale_and_both_colours():
    small, large = sphere(20.0), sphere(60.0)
    pictures = [
        draw(shape, id=name, real=real, extent_mm=130.0, pixels=130, note="1 mL")
        for shape, name, real in ((small, "a", True), (large, "b" * 90, False))
    ]
    sheet = contact_sheet(
        [("Real", pictures[:1]), ("Generated", pictures[1:]), ("None", [])], extent_mm=130.0, title="T" * 200
    ).astype(int)
    orange, blue = sheet[..., 0] > sheet[..., 2] + 40, sheet[..., 2] > sheet[..., 0] + 30
    # two views each; areas as the squares of the radii
    assert orange.sum() / blue.sum() == pytest.approx(9, rel=0.1)
    assert orange.sum() == pytest.approx(2 * np.pi * 60**2, rel=0.06)
    assert np.nonzero(blue)[0].max() < np.nonzero(orange)[0].min()
