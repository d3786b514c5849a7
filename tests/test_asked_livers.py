"""Conditions from the command line, on the liver generator that comes with shapegen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ellipsoids import AXES, SCALE, ellipsoid, ellipsoid_generator
from shapegen.cli import app
from shapegen.completion.complete import complete
from shapegen.completion.observation import from_surface
from shapegen.conditioning import between
from shapegen.conditioning.ask import Aim
from shapegen.conditioning.completing import condition_terms, conditions_met
from shapegen.conditioning.given import Given
from shapegen.conditioning.population import FILE, attribute_table, measured_rows
from shapegen.conditioning.target import targets_of
from shapegen.conditioning.term import AttributeTerm
from shapegen.conditioning.wish import parse_wishes
from shapegen.data.placement import Placement
from shapegen.discovery import discover
from shapegen.geometry.export import read_mesh, write_mesh
from shapegen.geometry.sdf import unsigned_distance
from shapegen.geometry.surface import component_count, is_closed, select_faces, signed_volume
from shapegen.pretrained import pretrained_organ
from test_conditioning import generator, latents_of, table  # noqa: F401

pytestmark = pytest.mark.usefixtures("one_thread")


def invoke(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def liver():
    catalog = discover()
    pretrained = pretrained_organ(catalog, "liver")
    run = pretrained.run(catalog)
    return run, pretrained, pretrained.generator(run)


@pytest.fixture(scope="module")
def livers(liver, tmp_path_factory):
    """Two livers as files, the second one elsewhere and turned a little."""
    _, _, drawn = liver
    folder = tmp_path_factory.mktemp("livers")
    codes, scales = drawn.codes(2, seed=5)
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -0.1, 0], [0.1, 0, 0], [0, 0, 0.0]])).double().numpy()
    places = [Placement(float(scales[0])), Placement(float(scales[1]), np.array([30.0, -10.0, 400.0]), turn)]
    paths = []
    for number, sample in enumerate(replace(drawn, detail=None).mesh(codes, scales, resolution=64)):
        canonical = Placement(sample.scale_mm).to_canonical(sample.surface)
        paths.append(folder / f"liver-{number}.stl")
        write_mesh(paths[-1], places[number].to_mm(canonical))
    return paths


def test_the_liver_brings_its_table_along(liver):
    run, pretrained, drawn = liver
    assert (pretrained.folder / FILE).is_file()
    population = attribute_table(run, drawn, pretrained)
    assert population.source == "draws"
    assert len(population.values) >= 100
    assert 1000 < np.exp(population.quantile("volume", 0.5)) < 2500


def test_a_liver_of_the_volume_that_was_asked_for(tmp_path):
    found = invoke(
        *("sample", "--organ", "liver", "-n", 2, "--condition", "volume=1800ml", "--condition", "left_lobe=large"),
        *("--resolution", 64, "--out", tmp_path),
    )
    assert found.exit_code == 0, found.output
    said = json.loads((tmp_path / "samples.json").read_text())
    for row in said["samples"]:
        surface = read_mesh(tmp_path / row["file"])
        assert is_closed(surface)
        assert signed_volume(surface) / 1000 == pytest.approx(1800, rel=0.03)
    volume, lobe = said["conditions"]["attributes"]
    assert volume["aimed_at"] == pytest.approx(1800)
    assert lobe["attribute"] == "left-share"
    assert lobe["vague"]
    assert said["conditions"]["asked"] == ["volume=1800ml", "left_lobe=large"]


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        (("volume=1800",), "the unit is missing"),
        (("volumen=1800ml",), "did you mean 'volume'"),
        (("volume=1800ml", "volume=2l"), "contradict each other"),
        (("volume=+15%",), "needs a shape to change"),
    ],
)
def test_bad_conditions_are_one_line_and_draw_nothing(tmp_path, conditions, says):
    texts = [each for text in conditions for each in ("--condition", text)]
    found = invoke("sample", "--organ", "liver", *texts, "--out", tmp_path / "out")
    assert found.exit_code == 2
    assert says in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_between_two_livers(livers, tmp_path):
    found = invoke(
        *("interpolate", *livers, "--organ", "liver", "--steps", 3, "--out", tmp_path, "--resolution", 64),
    )
    assert found.exit_code == 0, found.output
    said = json.loads((tmp_path / "interpolation.json").read_text())
    assert max(said["misfit_mm"]) < 2
    surfaces = [read_mesh(tmp_path / row["file"]) for row in said["shapes"]]
    truth = [read_mesh(path) for path in livers]
    volumes = [signed_volume(each) / 1000 for each in surfaces]
    assert volumes[::2] == pytest.approx([signed_volume(each) / 1000 for each in truth], rel=0.01)
    for end, true in zip(surfaces[::2], truth, strict=True):  # cells are 3 mm wide, codes lie 1 to 2 off
        assert unsigned_distance(true, end.vertices).mean() < 0.3
    assert all(is_closed(each) and component_count(each) == 1 for each in surfaces)
    assert volumes[1] == pytest.approx(np.sqrt(volumes[0] * volumes[2]), rel=0.05)
    centres = [each.vertices.mean(axis=0) for each in surfaces]
    for found_centre, true in ((centres[0], truth[0]), (centres[2], truth[1])):
        assert found_centre == pytest.approx(true.vertices.mean(axis=0), abs=5)
    assert centres[1] == pytest.approx((centres[0] + centres[2]) / 2, abs=10)


def test_a_liver_that_is_edited_stays_where_it_lies_and_what_it_is(livers, tmp_path):
    found = invoke(
        *("edit", livers[1], "--organ", "liver", "--set", "volume=+10%", "--out", tmp_path, "--resolution", 64),
    )
    assert found.exit_code == 0, found.output
    said = json.loads((tmp_path / "edit.json").read_text())
    given, edited = read_mesh(livers[1]), read_mesh(tmp_path / "edited.stl")
    assert signed_volume(edited) == pytest.approx(1.1 * signed_volume(given), rel=0.02)
    assert len(edited.faces) == pytest.approx(len(given.faces), rel=0.02)  # as it was read and cleaned
    assert is_closed(edited)
    assert edited.vertices.mean(axis=0) == pytest.approx(given.vertices.mean(axis=0), abs=6)
    volume, share = said["attributes"]["volume"], said["attributes"]["left-share"]
    assert volume["aimed_at"] == pytest.approx(1.1 * volume["given"])
    assert share["aimed_at"] is None
    assert share["edited"] == pytest.approx(share["given"], abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("edit", "{liver}", "--organ", "liver"), "nothing to change"),
        (("edit", "{liver}", "--set", "volume=+5%"), "give one of the two"),
        (("edit", "none.stl", "--organ", "liver", "--set", "volume=+5%"), "no such file"),
        (("edit", "{liver}", "--organ", "liver", "--set", "volume=-100%"), "nothing is left"),
        (("edit", "{liver}", "--organ", "liver", "--set", "curvature=+5%"), "give the value itself"),
        (("interpolate", "{liver}", "none.stl", "--organ", "liver"), "no such file"),
    ],
)
def test_what_cannot_be_edited_is_said(livers, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    found = invoke(*(each.format(liver=livers[0]) for each in arguments))
    assert found.exit_code in (1, 2)
    assert says in found.stderr
    assert "unexpected" not in found.stderr


def test_turns_go_the_short_way_and_mirror_images_stay():
    def given(angle, mirror=1.0):
        c, s = np.cos(angle), np.sin(angle)
        rotation = np.diag([mirror, 1, 1]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        return Given("a", ellipsoid(AXES), Placement(1.0, rotation=rotation), torch.zeros(1, 3), 0.0)

    path = between.turned(given(0.0), given(0.4), 3)
    np.testing.assert_allclose(path[1], given(0.2).placement.rotation, atol=1e-9)
    path = between.turned(given(0.0, -1), given(0.4, -1), 3)
    np.testing.assert_allclose(path[2], given(0.4, -1).placement.rotation, atol=1e-9)
    path = between.turned(given(0.1), given(0.4, -1), 2)
    np.testing.assert_allclose(path, np.stack([given(0.1).placement.rotation] * 2))


def test_a_term_of_attributes_is_least_where_they_are_met(generator, table):  # noqa: F811
    targets, _ = targets_of(parse_wishes(("volume=900ml", "thickness=p50")), table)
    prior = table.prior(latents_of(generator, 2)[:, generator.layout.mask].double().numpy())
    term = AttributeTerm(generator, prior, table, targets, count=2, seed=0, estimate=True)
    u = prior.draws.clone().requires_grad_()
    optimiser = torch.optim.Adam([u], 0.05)
    from shapegen.completion.prior import decoded

    for _ in range(60):
        optimiser.zero_grad()
        _, weights, scales = decoded(generator, prior, u)
        loss = term(u, weights, scales)
        loss.sum().backward()
        optimiser.step()
    codes, _, scales = decoded(generator, prior, u.detach())
    volumes = 4 / 3 * np.pi * np.prod(generator.space.decode(codes).numpy(), axis=1) * scales.numpy() ** 3 / 1000
    assert volumes == pytest.approx(900, rel=0.02)


def test_a_completion_has_the_volume_that_was_asked_for(generator, table):  # noqa: F811
    whole = ellipsoid(AXES, centre=(30, -20, 400))
    y = whole.triangles.mean(axis=1)[:, 1]
    seen = from_surface(select_faces(whole, y > np.quantile(y, 0.6)))
    free = complete(generator, seen, count=1, noise_mm=0.5, resolution=48)
    wanted = 1.1 * signed_volume(free.estimate) / 1000
    targets, _ = targets_of(parse_wishes((f"volume={wanted}ml",)), table)
    aim = Aim(table, targets, {}, ())
    terms = condition_terms(generator, aim, count=2, seed=0)
    found = complete(generator, seen, count=2, noise_mm=0.5, resolution=48, terms=terms)
    assert signed_volume(found.estimate) / 1000 == pytest.approx(wanted, rel=0.03)
    assert float(found.posterior.misfit_mm[0]) < 1.5
    facts, warnings = conditions_met(found, aim)
    assert facts["volume"]["estimate"] == pytest.approx(wanted, rel=0.03)
    assert len(facts["volume"]["draws"]) == 2
    assert warnings == []


def test_rows_that_cannot_be_measured_are_not_numbers():
    rows = measured_rows([None, ellipsoid(AXES, scale=SCALE)])
    assert np.isnan(rows[0]).all()
    assert np.isfinite(rows[1]).all()
    assert ellipsoid_generator().name == "normal"
