"""Shapes from pictures: what is read, what is refused, and whether draws look like the picture and differ where it does
not show them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from shapegen.completion.prior import prior_of
from shapegen.conditioning.population import AttributeTable
from shapegen.conditioning.target import Target
from shapegen.diffusion.latents import split
from shapegen.errors import ConfigError, UnusableItemError
from shapegen.report.render import VIEWS, render, view_axes
from shapegen.silhouettes.fit import find_view, look_like
from shapegen.silhouettes.guide import guided
from shapegen.silhouettes.picture import Picture, mask_of, read_picture
from shapegen.silhouettes.rays import rays_of
from shapegen.silhouettes.request import PLANES, Request, parse_request
from shapegen.silhouettes.seen import Seen
from shapegen_plugins.image_condition import Image, silhouettes
from tests.ellipsoids import AXES, SCALE, ellipsoid, ellipsoid_generator
from tests.test_conditioning import numbers_of

pytestmark = pytest.mark.usefixtures("one_thread")

TRUE = AXES * np.array([1.12, 0.9, 1.1])
PIXEL = 1.0


@pytest.fixture(scope="module")
def generator():
    return ellipsoid_generator()


@pytest.fixture(scope="module")
def prior(generator):
    return prior_of(generator, 8, seed=0)


def ellipse(half_width, half_height, *, size=256, middle=(0.0, 0.0)):
    """Return a mask with an ellipse, half-axes in pixels."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return ((x - middle[0]) / half_width) ** 2 + ((y - middle[1]) / half_height) ** 2 < 1


def seen(view, axes=TRUE, **options):
    """Return the silhouette of an ellipsoid of the size `SCALE` from a view, one pixel for each mm."""
    right, up = (SCALE * np.abs(direction) @ axes for direction in view_axes(view)[:2])
    return ellipse(right, up, **options)


def write(path, values, mode=None):
    Pillow.fromarray(values, mode).save(path)
    return path


def rays(mask, **known):
    return rays_of(Picture(mask, 1.0), Request(path=None, **known))


# ---- reading


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("kind", ["1 bit", "grey", "colour", "transparent", "palette"])
def test_every_kind_of_silhouette_is_read(tmp_path, kind, invert):
    mask = ellipse(70, 40)
    level = np.where(mask ^ invert, 255, 0).astype(np.uint8)
    path = tmp_path / "a.png"
    if kind == "transparent":
        Pillow.fromarray(np.dstack([np.zeros((256, 256, 3), np.uint8), np.where(mask, 255, 0).astype(np.uint8)])).save(
            path
        )
    elif kind == "colour":
        Pillow.fromarray(np.dstack([level, level // 2, level])).save(path)
    else:
        Pillow.fromarray(level).convert({"1 bit": "1", "grey": "L", "palette": "P"}[kind]).save(path)
    assert np.array_equal(read_picture(path).mask, mask)


def test_smooth_edges_and_labels_of_one_are_read(tmp_path):
    fine = Pillow.fromarray(np.where(ellipse(280, 160, size=1024), 255, 0).astype(np.uint8))
    fine.resize((256, 256), Pillow.Resampling.LANCZOS).save(tmp_path / "smooth.png")
    assert abs(int(read_picture(tmp_path / "smooth.png").mask.sum()) - np.pi * 70 * 40) < 60
    write(tmp_path / "labels.png", ellipse(70, 40).astype(np.uint8))
    assert read_picture(tmp_path / "labels.png").mask.sum() == ellipse(70, 40).sum()


def test_large_pictures_are_reduced_and_know_by_how_much(tmp_path):
    write(tmp_path / "a.png", np.where(ellipse(700, 400, size=2048), 255, 0).astype(np.uint8))
    found = read_picture(tmp_path / "a.png")
    assert found.mask.shape == (512, 512)
    assert found.reduction == 4
    assert found.mask.sum() == pytest.approx(np.pi * 175 * 100, rel=0.01)


def test_holes_are_filled_in_a_silhouette_and_kept_in_a_slice():
    ring = ellipse(70, 50) & ~ellipse(20, 15)
    assert np.array_equal(mask_of(ring.astype(float), "a"), ellipse(70, 50))
    assert np.array_equal(mask_of(ring.astype(float), "a", holes=True), ring)


def photo():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    return 100 + 60 * np.sin(x / 25) + 50 * np.cos(y / 31) + rng.normal(0, 10, (256, 256))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((64, 64)), "all of one colour"),
        (np.full((64, 64), 255.0), "all of one colour"),
        (photo(), "a picture with shades"),
        (ellipse(70, 40, middle=(90, 0)).astype(float), "touches the edge"),
        ((ellipse(30, 30, middle=(-60, 0)) | ellipse(30, 30, middle=(60, 0))).astype(float), "2 pieces"),
        (ellipse(8, 6).astype(float), "at least 24 are needed"),
    ],
    ids=["black", "white", "photo", "cut", "pieces", "small"],
)
def test_what_is_no_silhouette_is_refused_in_one_line(values, reason):
    with pytest.raises(UnusableItemError, match=reason) as caught:
        mask_of(values, "liver.png")
    assert str(caught.value).startswith("liver.png: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(UnusableItemError, match="no such file"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("liver")
    with pytest.raises(UnusableItemError, match="not a picture"):
        read_picture(tmp_path / "text.png")
    Pillow.new("1", (20_000, 6_000)).save(tmp_path / "huge.png")
    with pytest.raises(UnusableItemError, match="20000 x 6000 pixels"):
        read_picture(tmp_path / "huge.png")


def test_requests_are_read():
    assert parse_request("a.png") == Request(path=Path("a.png"))
    found = parse_request("a.png, view=anterior,mm_per_pixel=0.5mm")
    assert (found.path.name, found.view, found.plane, found.mm_per_pixel) == ("a.png", "anterior", None, 0.5)
    found = parse_request("b.png,slice=axial,at=-20")
    assert (found.view, found.plane, found.at_mm, found.mm_per_pixel) == (None, "axial", -20.0, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a.png,view=frontal", "expected one of anterior"),
        ("a.png,view=anteriro", "did you mean anterior"),
        ("a.png,slice=transversal", "expected one of axial"),
        ("a.png,veiw=anterior", "did you mean view"),
        ("a.png,view=anterior,slice=axial", "give one of the two"),
        ("a.png,at=3", "where a slice lies"),
        ("a.png,mm_per_pixel=wide", "expected a number"),
        ("a.png,mm_per_pixel=0", "expected 0.01 to 20"),
        (",view=anterior", "got no file"),
    ],
)
def test_wrong_requests_are_refused(text, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_request(text)


def test_points_lie_where_they_say():
    found = rays(ellipse(80, 50), view="anterior", mm_per_pixel=PIXEL)
    x, y = found.points.T
    level = (x / 80) ** 2 + (y / 50) ** 2
    assert level[found.sides == 0] == pytest.approx(1, abs=0.06)
    assert (level[found.sides == 1] > 1).all()
    assert (level[found.sides == -1] < 1).all()
    gaps = np.linalg.norm(np.diff(found.points[found.sides == 0], axis=0), axis=1)
    assert gaps == pytest.approx(np.sqrt(found.area) / 24, rel=0.1)


# ---- drawing


@pytest.mark.parametrize("view", VIEWS)
def test_draws_have_the_silhouette_and_keep_their_depth(generator, prior, view):
    found = look_like(
        generator, prior, [rays(seen(view), view=view, mm_per_pixel=PIXEL)], count=6, seed=0, estimate=True
    )
    axes, sizes = view_axes(view), (found.weights * found.scales[:, None]).numpy()
    across = [np.abs(direction) @ sizes.T for direction in axes]
    true = [np.abs(direction) @ TRUE * SCALE for direction in axes]
    for known in (0, 1):
        assert across[known] == pytest.approx(true[known], rel=0.05)
    free = (prior.draws[:6].std(dim=0)).mean()
    assert np.std(np.log(across[2][1:])) > 0.4 * 0.12 * float(free)
    assert (found.overlaps > 0.95).all()


def test_without_a_scale_the_form_is_that_of_the_picture_and_the_size_is_free(generator, prior):
    mask = seen("anterior", size=512)
    found = look_like(generator, prior, [rays(mask, view="anterior")], count=6, seed=0)
    ratio = found.weights[:, 0] / found.weights[:, 2]
    assert ratio.numpy() == pytest.approx(TRUE[0] / TRUE[2], rel=0.05)
    assert float(found.scales.std()) > 3


def test_the_picture_may_lie_anywhere(generator, prior):
    middle = look_like(generator, prior, [rays(seen("left"), view="left")], count=2, seed=0)
    beside = look_like(generator, prior, [rays(seen("left", size=400, middle=(60, -40)), view="left")], count=2, seed=0)
    assert torch.allclose(middle.weights, beside.weights, rtol=0.01)


def test_two_views_leave_nothing_free(generator, prior):
    both = [rays(seen(view), view=view, mm_per_pixel=PIXEL) for view in ("anterior", "left")]
    found = look_like(generator, prior, both, count=4, seed=0)
    assert (found.weights * found.scales[:, None]).numpy() == pytest.approx(np.tile(TRUE * SCALE, (4, 1)), rel=0.05)
    assert found.overlaps.shape == (4, 2)


@pytest.mark.parametrize("known", [True, False])
def test_a_slice_through_the_middle_has_the_area_of_its_ellipse(generator, prior, known):
    at = 25.0
    share = np.sqrt(1 - (at / (TRUE[2] * SCALE)) ** 2)  # of the half-axes of an ellipsoid cut at z
    mask = ellipse(TRUE[0] * SCALE * share, TRUE[1] * SCALE * share)
    request = {"plane": "axial", "mm_per_pixel": PIXEL, "at_mm": at if known else None}
    found = look_like(generator, prior, [rays(mask, **request)], count=4, seed=0)
    assert (found.overlaps > 0.93).all()
    if known:
        sizes = found.weights * found.scales[:, None]
        cut = (1 - (at / sizes[:, 2]).square()).sqrt()
        assert (np.pi * sizes[:, 0] * sizes[:, 1] * cut.square()).numpy() == pytest.approx(mask.sum(), rel=0.07)


def test_draw_i_depends_on_its_number_alone(generator):
    three, five = (prior_of(generator, count, seed=0) for count in (3, 5))
    picture = [rays(seen("anterior"), view="anterior")]
    few = look_like(generator, three, picture, count=3, seed=1, steps=20)
    many = look_like(generator, five, picture, count=5, seed=1, steps=20)
    assert torch.allclose(few.weights, many.weights[:3], rtol=1e-3)


def test_the_view_is_found(generator, prior):
    mask = seen("left")
    view, overlaps = find_view(generator, prior, Picture(mask, 1.0), Request(path=None, mm_per_pixel=PIXEL))
    assert view in ("left", "right")  # an ellipsoid looks the same from both
    assert abs(overlaps["left"] - overlaps["right"]) < 0.01
    assert overlaps["left"] > overlaps["anterior"] + 0.01


def test_occupancies_are_refused(generator, prior):
    from dataclasses import replace

    class Occupancy(type(generator.inr)):
        kind = "occupancy"

    with pytest.raises(ConfigError, match="signed distances"):
        look_like(replace(generator, inr=Occupancy()), prior, [rays(seen("left"), view="left")], count=1, seed=0)


def test_every_plane_has_a_view():
    assert set(PLANES.values()) <= set(VIEWS)


def test_the_overlap_is_that_of_the_meshes_silhouettes(generator, prior):
    """Against the renderer, which draws the mesh's faces."""
    mask = seen("anterior")
    found = look_like(generator, prior, [rays(mask, view="anterior", mm_per_pixel=PIXEL)], count=1, seed=0, steps=10)
    surface = ellipsoid(found.weights[0].numpy(), scale=float(found.scales[0]))
    drawn = render(surface, view="anterior", size=(256, 256), extent_mm=256, background=None)[..., 3] > 127
    assert float(found.overlaps[0, 0]) == pytest.approx((drawn & mask).sum() / (drawn | mask).sum(), abs=0.03)


# ---- guiding a generator, beside attributes


@pytest.fixture(scope="module")
def table(generator):
    rows = generator.latents.sample(200, seed=3)
    codes, log_scale = split(generator.layout, generator.scaler.restore(rows))
    axes = generator.space.decode(codes) * log_scale.exp()[:, None]
    values = np.stack([numbers_of(each) for each in axes.double().numpy()])
    latents = rows[:, generator.layout.mask].double().numpy()
    return AttributeTable(values, latents, latents.mean(axis=0), np.linalg.cholesky(np.cov(latents.T)), "draws")


def picture(mask, **known):
    return Seen(Picture(mask, 1.0), Request(path=Path("liver.png"), **known))


def axes_of(generator, x):
    codes, log_scale = split(generator.layout, generator.scaler.restore(x))
    return (generator.space.decode(codes) * log_scale.exp()[:, None]).numpy()


def guide(generator, table, *seen, targets=(), count=3):
    x = generator.latents.sample(count, seed=5)
    return guided(seen, x, generator=generator, table=table, targets=targets, seed=0)


def test_draws_are_moved_to_the_picture_and_facts_say_how_well(generator, table):
    x, facts = guide(generator, table, picture(seen("anterior"), view="anterior", mm_per_pixel=PIXEL))
    assert axes_of(generator, x)[:, [0, 2]] == pytest.approx(np.tile(TRUE[[0, 2]] * SCALE, (3, 1)), rel=0.05)
    (fact,) = facts["pictures"]
    assert (fact["file"], fact["view"], fact["estimated"]) == ("liver.png", "anterior", False)
    assert fact["overlap"] > 0.95
    assert len(fact["overlaps"]) == 3


def test_attributes_beside_a_picture_fill_in_what_it_does_not_show(generator, table):
    depth = float(np.log(2 * AXES[1] * SCALE * 1.15))
    target = Target("extent-front-back", depth, 0.02 * table.spread("extent-front-back"))
    known = picture(seen("anterior"), view="anterior", mm_per_pixel=PIXEL)
    x, facts = guide(generator, table, known, targets=(target,))
    assert 2 * axes_of(generator, x)[:, 1] == pytest.approx(np.exp(depth), rel=0.05)
    assert facts["pictures"][0]["overlap"] > 0.95


def test_a_picture_of_something_else_is_refused(generator, table):
    cross = ellipse(100, 12) | ellipse(12, 100)
    with pytest.raises(UnusableItemError, match=r"overlap it by .* such organs by 95 % and more"):
        guide(generator, table, picture(cross, view="anterior"), count=1)


def test_an_unknown_view_is_said_with_what_would_fit_as_well(generator, table, capsys):
    _, facts = guide(generator, table, picture(seen("left"), mm_per_pixel=PIXEL), count=1)
    said = capsys.readouterr().err
    assert "liver.png: seen as the " in said
    assert "would fit as well" in said
    assert facts["pictures"][0]["estimated"]
    assert set(facts["pictures"][0]["overlaps_of_views"]) == set(VIEWS)


# ---- the plugin


def test_pictures_of_training_shapes_are_their_silhouettes():
    surface = ellipsoid(AXES)
    found = silhouettes(surface, "a")
    assert [each.request.view for each in found] == list(VIEWS)
    for each in found:
        right, up = (SCALE * np.abs(direction) @ AXES for direction in view_axes(each.request.view)[:2])
        assert each.picture.mask.sum() * each.request.mm_per_pixel**2 == pytest.approx(np.pi * right * up, rel=0.02)


def test_the_encoder_sees_form_place_and_size_and_thinning_takes_some_away():
    torch.manual_seed(0)
    condition = Image(8, tokens=2)
    wide, tall = picture(ellipse(60, 30), view="left"), picture(ellipse(30, 60), view="left")
    other, sized = picture(ellipse(60, 30), view="right"), picture(ellipse(60, 30), view="left", mm_per_pixel=1.0)
    twice = picture(ellipse(120, 60, size=400), view="left")
    tokens = condition([(wide,), (tall,), (other,), (sized,), (twice,), (wide, tall)])
    assert tokens.shape == (6, 2, 8)
    assert all(not torch.allclose(tokens[0], tokens[row], atol=1e-4) for row in (1, 2, 3))
    assert torch.allclose(tokens[0], tokens[4], atol=0.02)  # how large it is drawn means nothing
    assert torch.allclose(tokens[5], (tokens[0] + tokens[1]) / 2, atol=1e-6)
    generator = torch.Generator().manual_seed(0)
    thinned = [condition.thinned((wide, tall, other, sized), generator) for _ in range(40)]
    assert {len(each) for each in thinned} == {1, 2}
    assert any(not each.place for some in thinned for each in some)


def test_the_command_line_names_several_pictures(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.png", np.where(ellipse(70, 40), 255, 0).astype(np.uint8))
    first, second = Image(8, tokens=1).parse(f"{tmp_path}/a.png,view=anterior\n{tmp_path}/b.png,slice=axial")
    assert (first.place, second.place) == ("anterior", "axial")
