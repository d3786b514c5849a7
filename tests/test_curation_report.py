"""The curated folder's page, lists and table: complete, sorted, self-contained, and safe against names."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser

import pytest

from curated import EVIL, curated, row, shape
from shapegen.curation.decisions import Decision, write_decision
from shapegen.curation.pictures import picture, write_pictures
from shapegen.curation.report import write_lists, write_report
from shapegen.errors import CorruptFileError
from shapegen.geometry.surface import Surface
from shapegen.store import read_json, write_json


class Cards(HTMLParser):
    """Collects headings by section, the text, tags and attributes; checks that what is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.names, self.words, self.tags, self.attributes, self.open, self.section = {}, [], [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "section":
            self.section = dict(attributes)["id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open[-1:] == ["h3"]:
            self.names.setdefault(self.section, []).append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = curated(tmp_path_factory.mktemp("curated"))
    write_decision(folder, "livers/cut", Decision("ok", "cut", "only the <i>tip</i>", "2026-11-28T07:30:00+00:00"))
    write_decision(folder, "livers/strange", Decision("not_sure", "not_sure"))
    write_decision(folder, "gone", Decision("nope", "ok"))
    write_report(folder)
    write_lists(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_page_is_self_contained(page):
    cards = Cards(page)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(cards.tags)
    assert not any(name.startswith("on") for _, name, _ in cards.attributes)
    assert {value[:22] for _, name, value in cards.attributes if name == "src"} == {"data:image/png;base64,"}
    assert not re.search(r"@import|url\(", page)
    assert "default-src 'none'" in page
    assert cards.tags.count("img") == 3 * 7
    assert sum((tag, name, value) == ("img", "loading", "lazy") for tag, name, value in cards.attributes) == 21


def test_names_are_escaped(page):
    assert "<script" not in page
    assert "<i>" not in page
    assert "<b>everywhere" not in page
    assert EVIL in Cards(page).words


def test_items_stand_under_their_final_class_worst_first(page):
    names = Cards(page).names
    assert {section: names[section] for section in names if section != "overview"} == {
        "nope": ["=HYPERLINK(1)"],
        "cut": ["livers/cut-more"],
        "require_edit": [EVIL],
        "not_sure": ["livers/strange"],
        "ok": ["livers/cut", "livers/mended", "livers/fair", "livers/good"],
    }


def test_page_tells_everything(page):
    text = Cards(page).text
    for each in (
        "4 of 8 items go on; 1 were mended",
        "A reviewer decided 2, 1 of them otherwise than the checks",
        "sorted 8 files",
        "cut 2 2 0 1 The scan",
        "ok 2 3 1 4 Complete",
        "folded require_edit 2 0 0.4",
        "planar-cap (3.25, threshold 2.5): a flat cap",
        "crumbs (4, threshold 0.5, mended ): 4 crumbs",
        "repaired: dropped 4 crumbs",
        "Probability: ok 62%, cut 30%, require_edit 8%",
        "As read require_edit after repair ok",
        "ok overruled by a reviewer: “only the <i>tip</i>”",
        "not_sure confirmed by a reviewer",
        "readable : no NIfTI <i>file</i>",
    ):
        assert each in text


def test_choices_name_classes_that_the_page_has(page):
    cards = Cards(page)
    marks = {word for tag, name, value in cards.attributes if name == "class" for word in value.split()}
    options = {value for tag, name, value in cards.attributes if (tag, name) == ("option", "value")}
    checks = {each for each in options if each.startswith("check-")}
    assert checks
    assert checks == {each for each in marks if each.startswith("check-")}
    assert all(f'value="{each}"]:checked' in page for each in options)


def test_equal_folders_give_equal_pages(folder, page):
    assert write_report(folder).read_text(encoding="utf-8") == page


def test_lists_hold_one_id_a_line(folder):
    lists = {name: (folder / f"{name}.txt").read_text().splitlines() for name in ("ok", "cut", "require_edit", "nope")}
    assert lists == {
        "ok": ["livers/good", "livers/fair", "livers/mended", "livers/cut"],
        "cut": ["livers/cut-more"],
        "require_edit": [EVIL],
        "nope": ["=HYPERLINK(1)"],
    }
    assert (folder / "not_sure.txt").read_text() == "livers/strange\n"


def test_table_has_a_row_for_each_item(folder):
    with (folder / "curation.csv").open(newline="") as stream:
        rows = {line["id"]: line for line in csv.DictReader(stream)}
    assert len(rows) == 8
    cut = rows["livers/cut"]
    assert (cut["verdict"], cut["decided"], cut["final"], cut["note"]) == ("cut", "ok", "ok", "only the <i>tip</i>")
    assert (cut["p_cut"], cut["planar-cap"], cut["crumbs"], cut["volume"]) == ("0.9500", "3.25", "", "0.125")
    assert rows["livers/mended"]["after_repair"] == "ok"
    assert rows[EVIL]["file"].endswith('</script>"&.nii.gz')
    assert rows["livers/cut-more"]["reasons"] == "a flat cap covers 12.4 % of the surface; folds <b>everywhere</b>"
    # no formula for a spreadsheet
    assert rows["'=HYPERLINK(1)"]["reasons"] == "no NIfTI <i>file</i>"


def test_names_that_no_encoding_has(tmp_path):
    items = [row("a/\udcff", "ok", 0.0), row("a/line\nfeed", "ok", 0.0)]
    write_json(
        tmp_path / "curation.json",
        {"format": "shapegen-curation-1", "organ": "liver", "items": items, "notes": [], "thresholds": {}},
    )
    write_lists(tmp_path)
    assert (tmp_path / "ok.txt").read_bytes() == b"a/\xff\na/line feed\n"
    assert b"a/\\udcff" in write_report(tmp_path).read_bytes()


def test_pictures_outside_the_folder_are_not_taken(tmp_path):
    folder = curated(tmp_path / "curated", pictures=False)
    (tmp_path / "secret.png").write_bytes(b"secret")
    data = read_json(folder / "curation.json")
    data["items"][0]["pictures"] = ["../secret.png", str(tmp_path / "secret.png"), "pictures/none.png"]
    write_json(folder / "curation.json", data)
    assert "c2VjcmV0" not in write_report(folder).read_text()


def test_a_folder_of_another_kind_is_refused(tmp_path):
    write_json(tmp_path / "curation.json", {"format": "other"})
    for write in (write_report, write_lists):
        with pytest.raises(CorruptFileError, match=r"curation\.json"):
            write(tmp_path)


def test_pictures_are_small_and_share_one_scale(tmp_path):
    import numpy as np
    from PIL import Image

    names = write_pictures(shape([100.0, 60, 40]), tmp_path, "a")
    assert names == ["a-anterior.png", "a-inferior.png", "a-left.png"]
    assert sum((tmp_path / name).stat().st_size for name in names) < 40_000
    widths = []
    for name in names:
        with Image.open(tmp_path / name) as image:
            assert image.size == (220, 220)
            seen = np.asarray(image.convert("L"))[:200] < 250
        widths.append(int(seen.any(axis=0).sum()))
    assert widths[0] == pytest.approx(widths[1], abs=2)
    assert widths[2] == pytest.approx(0.6 * widths[1], rel=0.05)
    assert len(picture(shape([100.0, 60, 40]), "left", 480)) > (tmp_path / names[2]).stat().st_size


def test_no_surface_no_picture(tmp_path):
    import numpy as np

    assert write_pictures(None, tmp_path, "a") == []
    assert write_pictures(Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64)), tmp_path, "a") == []
    assert list(tmp_path.iterdir()) == []
