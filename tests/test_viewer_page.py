"""The viewer in a real browser, used as a person uses it: by mouse, by keyboard, and without WebGL."""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import contextmanager
from importlib.resources import files

import numpy as np
import pytest

from conftest import icosphere
from reported import finished_run
from shapegen.report.composed import Coloured, Composed
from shapegen.report.html import Section, listing, page
from shapegen.report.view import view_run
from shapegen.report.viewer import Column, Viewed, scripts, style, viewer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SOFTWARE_GL = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
BROWSER = files("shapegen.report") / "browser"

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("viewer")
    view_run(finished_run(folder / "run"), folder / "page.html")
    return folder / "page.html"


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")
    with playwright.sync_playwright() as library:
        yield library.chromium


class Tab:
    """A page that notes whatever goes wrong in it, and whatever it asks of the network."""

    def __init__(self, browser, file, **options):
        self.page = browser.new_page(viewport={"width": 1100, "height": 900}, **options)
        self.troubles, self.asked = [], []
        self.page.on("console", lambda message: self.troubles.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_function("document.getElementById('said').textContent !== ''")

    def text(self, name):
        return self.page.locator(f"#{name}").inner_text()

    def shows(self, name, text):
        """Wait until an element holds a text: shapes are unpacked beside."""
        self.page.wait_for_function(
            "([name, text]) => document.getElementById(name).innerText.includes(text)", arg=[name, text]
        )
        return True

    def pixels(self, side=None):
        """Return the canvas [h, w, 3] as it is drawn, or its left or right half."""
        import base64
        import io

        from PIL import Image

        self.page.wait_for_timeout(150)
        data = self.page.evaluate("document.getElementById('canvas').toDataURL().split(',')[1]")
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), dtype=float)
        half = image.shape[1] // 2
        return {None: image, "left": image[:, :half], "right": image[:, half:]}[side]

    def names(self):
        return self.page.locator("#table tbody th").all_inner_texts()

    def filter(self, column, text):
        self.page.fill(f"[aria-label='filter by {column}']", text)


@pytest.fixture(scope="module")
def browser(chromium):
    with chromium.launch(executable_path=CHROMIUM, args=SOFTWARE_GL) as browser:
        yield browser


@pytest.fixture
def tab(browser, page_file):
    tab = Tab(browser, page_file)
    yield tab
    assert tab.troubles == []
    assert [url for url in tab.asked if url != page_file.as_uri() and not url.startswith(("data:", "blob:"))] == []
    tab.page.close()


@contextmanager
def silent(description, total):
    yield lambda number: None


def inked(pixels):
    """Return which pixels are not of the white ground."""
    return (pixels < 250).any(axis=2)


@in_browser
def test_two_shapes_are_shown_and_turned_alike_by_keys_and_mouse(tab):
    before = tab.pixels()
    assert inked(tab.pixels("left")).mean() > 0.05
    tab.page.focus("#canvas")
    for _ in range(8):
        tab.page.keyboard.press("ArrowLeft")
    turned = tab.pixels()
    assert np.abs(turned - before).mean() > 1
    tab.page.keyboard.press("0")
    assert np.abs(tab.pixels() - before).mean() < 0.01
    box = tab.page.locator("#canvas").bounding_box()
    tab.page.mouse.move(box["x"] + 100, box["y"] + 200)
    tab.page.mouse.down()
    tab.page.mouse.move(box["x"] + 240, box["y"] + 200, steps=5)
    tab.page.mouse.up()
    assert np.abs(tab.pixels() - before).mean() > 1


@in_browser
def test_zoom_by_keys_and_by_the_wheel_after_a_click_alone(tab):
    size = inked(tab.pixels("left")).sum()
    box = tab.page.locator("#canvas").bounding_box()
    tab.page.mouse.move(box["x"] + 100, box["y"] + 200)
    tab.page.mouse.wheel(0, -300)
    assert inked(tab.pixels("left")).sum() == size
    tab.page.evaluate("scrollTo(0, 0)")
    tab.page.focus("#canvas")
    tab.page.keyboard.press("-")
    smaller = inked(tab.pixels("left")).sum()
    assert smaller < 0.9 * size
    box = tab.page.locator("#canvas").bounding_box()
    tab.page.mouse.move(box["x"] + 100, box["y"] + 200)
    tab.page.mouse.wheel(0, -300)
    assert inked(tab.pixels("left")).sum() > smaller


@in_browser
def test_views_are_those_of_the_pictures(tab):
    """An ellipsoid of 85 x 60 x 50 mm shows 85 by 50 from the front, 60 by 50 from the left, 85 by 60 from above."""
    tab.page.select_option("#right", "")
    for view, (wide, high) in {"anterior": (85, 50), "left": (60, 50), "superior": (85, 60)}.items():
        tab.page.select_option("#view", view)
        ink = inked(tab.pixels())
        width, height = ink.any(axis=0).sum(), ink.any(axis=1).sum()
        assert width / height == pytest.approx(wide / high, rel=0.03), view
    bar = tab.page.locator("#scale span").bounding_box()["width"]
    length = float(re.fullmatch(r"(\d+) mm", tab.page.locator("#scale small").inner_text())[1])
    assert width / tab.page.evaluate("devicePixelRatio") / bar == pytest.approx(2 * 85 / length, rel=0.03)


@in_browser
def test_a_sample_stands_beside_its_nearest_training_shape(tab):
    tab.page.click("#table >> text=sample-0001")
    assert tab.shows("left-name", "sample-0001, generated, volume")
    assert "nearest training shape (real), volume" in tab.text("right-name")
    assert "beside it" in tab.page.locator("#canvas").get_attribute("aria-label")
    right = tab.pixels("right")[inked(tab.pixels("right"))].mean(axis=0)
    left = tab.pixels("left")[inked(tab.pixels("left"))].mean(axis=0)
    assert right[2] > right[0]  # blue: real
    assert left[0] > left[2]  # orange: generated
    assert tab.page.locator("#table tr[aria-current=true] th").inner_text() == "sample-0001"
    tab.page.focus("#canvas")
    tab.page.keyboard.press("n")
    assert tab.shows("left-name", "sample-0002")
    tab.page.keyboard.press("p")
    assert tab.shows("left-name", "sample-0001")


@in_browser
def test_rows_are_filtered_and_sorted(tab):
    everything = tab.names()
    tab.filter("kind", "generated")
    assert tab.names() == ["sample-0000", "sample-0001", "sample-0002"]
    assert tab.text("count") == f"3 of {len(everything)} shapes."
    tab.page.click("thead >> text=volume [mL]")
    assert tab.page.locator("thead th[aria-sort=ascending]").inner_text().startswith("volume [mL]")
    tab.page.click("thead >> text=volume [mL]")
    assert tab.names() == ["sample-0002", "sample-0001", "sample-0000"]
    tab.filter("volume [mL]", "< 1085")
    assert tab.names() == ["sample-0001", "sample-0000"]
    tab.filter("volume [mL]", "1070..1090")
    assert tab.names() == ["sample-0001"]
    tab.filter("volume [mL]", "large")
    assert tab.page.locator("[aria-label='filter by volume [mL]']").get_attribute("aria-invalid") == "true"
    tab.filter("volume [mL]", "")
    tab.filter("closed", "yes")
    assert len(tab.names()) == 3
    tab.filter("kind", "")
    tab.filter("closed", "")
    tab.page.click("thead >> text=novelty")
    assert tab.names()[0] == "sample-0001"  # the only one that has any


@in_browser
def test_a_scene_has_a_legend_by_which_its_parts_are_hidden(browser, tmp_path):
    ball = icosphere(3)
    parts = (
        Coloured("liver", ball.moved(ball.vertices * 50), (230, 159, 0)),
        Coloured("spleen", ball.moved(ball.vertices * 30 + [-120.0, 0, 0]), (86, 180, 233)),
    )
    scene = Viewed(id="scene", kind="scene", load=lambda: Composed(parts))
    section = Section(id="solid", title="Shapes", body=viewer([scene], [], progress=silent))
    file = tmp_path / "page.html"
    file.write_text(page(title="t", facts={}, summary=[], sections=[section], scripts=scripts(), style=style()))
    tab = Tab(browser, file)
    assert tab.text("parts").split() == ["liver", "spleen"]
    assert not tab.page.locator("#legend").is_visible()
    before = tab.pixels()
    orange, blue = (before[..., 0] > before[..., 2] + 30), (before[..., 2] > before[..., 0] + 30)
    assert orange.sum() / blue.sum() == pytest.approx(50**2 / 30**2, rel=0.05)
    # The patient's left is on the right, as in an atlas.
    assert np.nonzero(blue)[1].min() > np.nonzero(orange)[1].max()
    tab.page.uncheck("#parts >> text=liver")
    after = tab.pixels()
    assert not (after[..., 0] > after[..., 2] + 30).any()
    assert np.abs(after - before)[blue].max() <= 3
    tab.page.close()


@in_browser
def test_on_paper_every_column_is_there(browser, tmp_path):
    """A4 less margins of 14 mm, at 96 pixels an inch: the viewer's table lies across, the others upright."""
    measures = {f"curvature at the {k} % quantile": (188.8, 0.7906, -0.01234)[k % 3] for k in range(24)}
    sphere = icosphere(2)
    shapes = [
        Viewed(id=f"source/LiTS-{k}, own INR", kind="reconstruction", load=lambda: sphere, measures=measures)
        for k in range(3)
    ]
    solid = viewer(shapes, [Column(name, "1/mm") for name in measures], progress=silent)
    inputs = listing("Inputs", ("file", "reason"), [("folder/" * 30, "because " * 40)])
    parts = [Section(id="solid", title="Shapes", body=solid), Section(id="inputs", title="Inputs", body=inputs)]
    file = tmp_path / "page.html"
    file.write_text(page(title="t", facts={}, summary=[], sections=parts, scripts=scripts(), style=style()))
    tab = Tab(browser, file)
    tab.page.emulate_media(media="print")
    for wide, selector in ((269, "#table"), (182, "table:not(#table)")):
        width = round(wide / 25.4 * 96)
        tab.page.set_viewport_size({"width": width, "height": 700})
        (end,) = tab.page.eval_on_selector_all(selector, "all => all.map((each) => each.getBoundingClientRect().right)")
        assert end <= width
    assert tab.page.eval_on_selector("#table", "table => getComputedStyle(table.parentElement).page") == "wide"
    tab.page.close()


@in_browser
def test_reconstructions_are_painted_with_a_legend_in_mm(tab):
    assert not tab.page.locator("#legend").is_visible()
    tab.page.click("#table >> text=source/real-9, own INR")
    assert "distance of the reconstruction from the real surface" in tab.text("legend")
    assert "mm and more" in tab.text("legend")
    assert float(tab.page.input_value("#top")) == pytest.approx(0.05 * 98, rel=0.05)
    painted = tab.pixels("left")
    tab.page.fill("#top", "50")
    tab.page.keyboard.press("Enter")
    assert np.abs(tab.pixels("left") - painted).mean() > 1  # all of it is at the dark end now
    tab.page.uncheck("#paint")
    plain = tab.pixels("left")[inked(tab.pixels("left"))]
    assert plain.std(axis=0).max() < 60
    assert "real shape (real)" in tab.text("right-name")


@in_browser
def test_meshes_and_the_picture_can_be_saved(tab, tmp_path):
    import trimesh

    tab.page.click("#table >> text=sample-0002")
    with tab.page.expect_download() as download:
        tab.page.click("#save")
    assert download.value.suggested_filename == "sample-0002.stl"
    download.value.save_as(tmp_path / "mesh.stl")
    mesh = trimesh.load(tmp_path / "mesh.stl")
    assert mesh.extents == pytest.approx([170, 124, 100], rel=0.01)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 85 * 62 * 50, rel=0.03)
    with tab.page.expect_download() as download:
        tab.page.click("#picture")
    download.value.save_as(tmp_path / "shapes.png")
    assert (tmp_path / "shapes.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert tab.page.locator("#whole a").get_attribute("href") == "run/sample/meshes/sample-0002.ply"


@in_browser
def test_everything_is_reached_by_the_keyboard(tab):
    reached = set()
    for _ in range(60):
        tab.page.keyboard.press("Tab")
        reached.add(tab.page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
    assert {"left", "right", "view", "reset", "canvas", "save", "picture", "filter by kind"} <= reached


@in_browser
def test_without_webgl_the_table_works_and_says_where_the_pictures_are(chromium, page_file):
    with chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-3d-apis"]) as browser:
        page = browser.new_page()
        page.goto(page_file.as_uri())
        page.wait_for_function("document.getElementById('said').textContent !== ''")
        assert page.locator("#no-webgl").is_visible()
        assert not page.locator("#canvas").is_visible()
        page.fill("[aria-label='filter by kind']", "generated")
        assert page.locator("#table tbody tr").count() == 3
        assert page.locator("#shapes img").count() > 4


@in_browser
def test_it_prints(browser, page_file):
    page = browser.new_page()
    page.goto(page_file.as_uri())
    page.emulate_media(media="print")
    assert not page.locator("#save").is_visible()
    assert page.pdf()[:5] == b"%PDF-"


def test_the_library_is_the_one_that_is_named():
    said = (BROWSER / "three.md").read_text(encoding="utf-8")
    content = (BROWSER / "three.min.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() in said
    assert f"{len(content):,} bytes" in said


def test_scripts_ask_nothing_of_the_network():
    for path in BROWSER.iterdir():
        if path.name.endswith(".js"):
            text = path.read_text(encoding="utf-8")
            assert set(re.findall(r"https?://[\w./]+", text)) <= {"http://www.w3.org/1999/xhtml"}
            assert "</script" not in text
            assert "eval(" not in text.replace("setInterval(", "")
