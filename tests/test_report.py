"""The report stage on a run folder made by hand: self-contained, safe, complete, and honest about what is missing."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from reported import EVIL, FakeRun, ellipsoid, finish, finished_run, prepared
from shapegen.data.placement import Placement
from shapegen.data.population import Shape, write_surface
from shapegen.errors import CorruptFileError
from shapegen.evenly import evenly
from shapegen.geometry.export import write_mesh
from shapegen.geometry.surface import signed_volume
from shapegen.report import viewer
from shapegen.report.html import Link, listing
from shapegen.report.material import gather, population_frame
from shapegen.report.packing import pack
from shapegen.report.summary import summary
from shapegen.stages.report import compute
from shapegen.store import read_json

NUMBERS = (
    *("0.9312", "0.9212 to 0.9412", "0.8812", "0.7123", "0.7013 to 0.7233", "0.6543"),
    *("71.23", "60.12 to 80.34", "50.11", "35.22 to 63.33", "0.3123", "0.2812 to 0.3512", "0.2601 to 0.3601"),
    *("0.2111", "0.1911 to 0.2311", "0.2444", "0.2044 to 0.2844", "0.8638", "0.7512", "0.3012 to 0.9512", "0.09870"),
    *("-1.234", "-1.933 to 2.033", "0.8077 to 1.208", "0.1777", "0.3333", "0.4397 to 1.000", "0.06140 to 0.7924"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = finished_run(tmp_path_factory.mktemp("run"))
    compute(run, run.stage("report"))
    return run


def test_the_summary_says_that_shapes_called_real_are_synthetic(run):
    material = gather(run)
    shapes = [replace(shape, meta={**shape.meta, "synthetic": True}) for shape in material.real]
    some, every = (
        summary(replace(material, population=replace(material.population, shapes=tuple(chosen))))[0]
        for chosen in ((shapes[0], *material.real[1:]), shapes)
    )
    assert "synthetic" not in summary(material)[0]
    assert "real shapes" in some
    assert f"1 of the {len(shapes)} shapes that are called real below are synthetic" in some
    assert "synthetic shapes (" in every


@pytest.fixture(scope="module")
def page(run):
    return (run.stage("report") / "report.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that what is opened is closed."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def test_page_is_self_contained_and_small(run, page):
    reader = Reader(page)
    assert reader.open == []
    loaded = [
        (tag, name, value) for tag, name, value in reader.attributes if name in ("src", "href", "xlink:href", "data")
    ]
    assert all(
        value.startswith("data:image/webp;base64,") if name == "src" else value.startswith(("#", "../sample/meshes/"))
        for _, name, value in loaded
    )
    assert not {"link", "iframe", "object", "embed", "base"} & set(reader.tags)
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)
    assert not re.search(r"@import|url\((?!#)", page)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; ")
    run_scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.S)
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run_scripts}
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    assert len(page.encode()) < 10_000_000


def test_user_supplied_text_is_escaped(page):
    scripts = re.findall(r"<script[^>]*>", page)
    assert scripts == ['<script type="application/json" id="viewer-data">', *["<script>"] * 4]
    assert "<b>removed" not in page
    assert EVIL in " ".join(Reader(page).words)


def test_every_number_is_on_the_page_with_its_null_row(page):
    text = Reader(page).text
    assert [each for each in NUMBERS if each not in text] == []
    assert text.count("null row") >= 5
    assert "worse" in text
    assert "data-copying test Z_U -1.234 (-3.234 to 0.7340), below -3 is copying (real against real" in text
    assert "Held-out real shapes have a mean distance of 0.2444, 5.000 % of them one below 0.1777." in text
    assert "1-nna-cd 71.23 (band 35.22 to 63.33), worse" in text
    assert "Inside the 95 % band of the null row 'real training shapes as samples': mmd-cd 0.3123" in text


def test_inputs_config_provenance_and_meshes_are_listed(page):
    text = Reader(page).text
    for each in ("not a NIfTI file", "2 crumbs", "synthetic population in use", "2.99", "preset: cpu", "12.2 s"):
        assert each in text
    assert "Generated 4 shapes, none chosen by hand: 1 empty, 3 closed and of one component." in text
    assert 'href="../sample/meshes/sample-0002.ply"' in page
    assert "broken-metric failed" in text


def test_pictures_have_alternative_texts_and_both_kinds_are_shown(page):
    pictures = [value for tag, name, value in Reader(page).attributes if (tag, name) == ("img", "alt")]
    assert "real shape source/real-7, anterior view" in pictures
    assert "generated shape sample-0000, superior view" in pictures
    # 3 held-out and 3 generated shapes and one pair, two views each
    assert len(pictures) == 2 * (3 + 3 + 2)


def test_keyboard_and_screen_reader(page):
    reader = Reader(page)
    anchors = {value for _, name, value in reader.attributes if name == "id"}
    identifiers = [value for _, name, value in reader.attributes if name == "id"]
    assert len(identifiers) == len(anchors)
    assert {value[1:] for tag, name, value in reader.attributes if tag == "a" and value.startswith("#")} <= anchors
    assert reader.tags.count("caption") == reader.tags.count("table")
    assert sum(tag == "th" and name == "scope" for tag, name, _ in reader.attributes) == reader.tags.count("th")
    assert ("html", "lang", "en") in reader.attributes


def test_sheets_are_written(run):
    from PIL import Image

    names = {path.name for path in run.stage("report").iterdir()}
    assert names == {
        "report.html",
        "contact-sheet.png",
        "meshes-real.png",
        "meshes-generated.png",
        "meshes-nearest.png",
        "figures",
    }
    for name in names - {"report.html", "figures"}:
        with Image.open(run.stage("report") / name) as image:
            assert image.width > 300


def test_equal_inputs_give_equal_files(run, tmp_path):
    compute(run, tmp_path)
    written = [path for path in run.stage("report").rglob("*") if path.is_file()]
    assert len(written) == 9
    for path in written:
        assert (tmp_path / path.relative_to(run.stage("report"))).read_bytes() == path.read_bytes()


def test_thinned_meshes_are_kept_by_content_and_made_again_where_they_are_damaged(tmp_path, monkeypatch):
    run = finished_run(tmp_path / "run")
    packed = []
    monkeypatch.setattr(viewer, "pack", lambda *args: packed.append(args) or pack(*args))
    pages = []

    def made():
        packed.clear()
        compute(run, run.stage("report"))
        pages.append((run.stage("report") / "report.html").read_bytes())
        return len(packed)

    everything = made()
    kept = sorted((run.cache / "viewer").iterdir())
    assert len(kept) == everything > 5
    assert made() == 0
    kept[0].write_bytes(kept[0].read_bytes()[:-20])
    assert made() == 1
    assert len(set(pages)) == 1
    shape = next(row for row in read_json(run.stage("sample") / "samples.json")["samples"] if row["file"])
    write_mesh(run.stage("sample") / shape["file"], ellipsoid([70, 60, 40]))
    assert made() == 1
    assert pages[-1] != pages[0]


def test_an_empty_run_gives_a_page_that_says_what_to_do(tmp_path):
    run = FakeRun(tmp_path)
    compute(run, tmp_path / "report")
    text = Reader((tmp_path / "report" / "report.html").read_text(encoding="utf-8")).text
    for stage in ("prepare", "fit", "train", "sample", "evaluate"):
        assert f"run `shapegen {stage}" in text
    assert "was not evaluated" in text
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["report.html"]


def test_only_prepared(tmp_path):
    run = FakeRun(tmp_path)
    prepared(run)
    compute(run, tmp_path / "report")
    text = Reader((tmp_path / "report" / "report.html").read_text(encoding="utf-8")).text
    assert "Learned from 5 real shapes" in text
    assert "No shape was generated" in text
    assert (tmp_path / "report" / "meshes-real.png").exists()
    assert not (tmp_path / "report" / "meshes-generated.png").exists()


def test_a_damaged_file_is_named(tmp_path):
    run = FakeRun(tmp_path)
    finish(run, "evaluate")
    (run.stage("evaluate") / "metrics.json").write_text("[1, 2]")
    with pytest.raises(CorruptFileError, match=r"metrics\.json"):
        compute(run, tmp_path / "report")


def test_real_shapes_are_drawn_in_the_frame_of_the_samples(run):
    population = gather(run).population
    shape = population[0]
    turned = Shape(
        id="turned",
        group="g",
        split="train",
        volume_ml=shape.volume_ml,
        # a mirrored file that lies elsewhere
        placement=Placement(180.0, np.array([10.0, 20, 30]), np.diag([-1.0, 1, 1])),
        folder=shape.folder,
    )
    write_surface(turned.folder / "surfaces" / turned.file_name, turned.placement.to_mm(shape.canonical()))
    moved = population_frame(turned)
    assert np.allclose(moved.vertices, shape.canonical().vertices * 180.0, atol=1e-3)
    assert signed_volume(moved) == pytest.approx(1000 * shape.volume_ml, rel=1e-4)


def test_long_lists_are_cut_and_say_so():
    html = listing("c", ("a", "b"), [(str(k), "x") for k in range(30)], most=10)
    assert html.count("<tr>") == 11
    assert "20 more are not shown" in html


def test_links_are_quoted():
    assert 'href="../a%20b%22%3E.ply"' in listing("c", ("a",), [(Link('../a b">.ply'),)])


def test_evenly_spread_choice():
    assert evenly(list(range(10)), 4) == [0, 2, 5, 7]
    assert evenly([1, 2], 8) == [1, 2]
    assert evenly([], 8) == []
