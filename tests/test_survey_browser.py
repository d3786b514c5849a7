"""A whole study as two readers do it, side by side in a real browser, with the server killed in the middle.

Pictures are kept below the folder that `SHAPEGEN_SCREENSHOTS` names, as a build keeps them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections import Counter

import numpy as np
import pytest

from shapegen.survey.analysis import analyse_study
from shapegen.survey.answers import read_answers
from shapegen.survey.choice import Wanted
from shapegen.survey.design import Design
from shapegen.survey.report import write_analysis
from shapegen.survey.study import ANSWERS
from surveyed import free_port, kinds_of, make_study, screenshots, served

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]
api = pytest.importorskip("playwright.sync_api")


WAIT = 60_000
"""Milliseconds; far more than is needed, for machines that do much else."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    wanted = Wanted(real=3, synthetic=3, near_copies=1, practice=2, seed=3)
    return make_study(tmp_path_factory.mktemp("survey"), wanted=wanted, design=Design(readers=2, repeats=2))


@pytest.fixture
def study(made):
    for path in made.folder.glob(f"{ANSWERS}*"):
        path.unlink()
    return made


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()


@pytest.fixture
def pictures(request, tmp_path):
    return screenshots(request.node.name, tmp_path / "pictures")


def opened(browser, link, **context):
    """Return a page in a browser profile of its own; what goes wrong in it is in `page.wrong`."""
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context}).new_page()
    page.set_default_timeout(WAIT)
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda message: page.wrong.append(message.text) if "Content Security" in message.text else None)
    page.goto(link)
    page.wait_for_selector("#start:visible")
    return page


def shown(page):
    """Wait for the shape and return the picture's pixels of it, RGB."""
    from io import BytesIO

    from PIL import Image

    page.wait_for_selector("#loading", state="hidden")
    page.wait_for_timeout(60)
    return np.asarray(Image.open(BytesIO(page.locator("#stage").screenshot())).convert("RGB")).astype(int)


def coloured(pixels) -> int:
    """Return how many pixels show the shape, which is blue on white."""
    return int((pixels[..., 2] - pixels[..., 0] > 15).sum())


def answer(page, choice, confidence, *, by_key=True):
    page.wait_for_selector("#loading", state="hidden")
    if by_key:
        page.keyboard.press(choice[0])
        page.keyboard.press(str(confidence))
        page.keyboard.press("Enter")
    else:
        page.check(f"input[name=choice][value={choice}]")
        page.check(f"input[name=confidence][value='{confidence}']")
        page.click("#next")


def saved(page):
    """Wait until the page says that the server has every answer."""
    api.expect(page.locator("#sent")).to_have_text("all answers saved", timeout=WAIT)


def count(page) -> int:
    return int(re.match(r"(\d+) of", page.text_content("#count"))[1])


def test_two_readers_side_by_side_and_a_server_that_is_killed(study, browser, pictures):
    port = free_port()
    total = len(study.readers[0].showings)
    expected: dict[str, list[str]] = {"reader-1": [], "reader-2": []}

    def step(name, page, number):
        choice = ("real", "synthetic")[(number + len(name)) % 2]
        answer(page, choice, 1 + number % 5, by_key=name == "reader-1")
        expected[name].append(choice)

    with served(study.folder, port=port) as (process, links):
        pages = {name: opened(browser, link) for name, link in links.items()}
        pages["reader-1"].screenshot(path=pictures / "1-welcome.png")
        for page in pages.values():
            page.click("#start")
        first = pages["reader-1"]
        assert coloured(shown(first)) > 5000
        first.screenshot(path=pictures / "2-shape.png")
        for number in range(4):
            for name, page in pages.items():
                step(name, page, number)
                assert count(page) == number + 1
        saved(first)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # Nothing is lost and nothing stops: the next shapes are there already, answers wait in the browser.
        for name, page in pages.items():
            step(name, page, 4)
            page.wait_for_selector("#sent.waiting")
        first.wait_for_selector("#alert:visible")
        first.screenshot(path=pictures / "3-server-gone.png")
        assert "kept in this browser" in first.text_content("#alert")
        step("reader-1", first, 5)
    with served(study.folder, port=port):
        for page in pages.values():
            saved(page)
        assert first.is_hidden("#alert")
        for name, page in pages.items():
            for number in range(len(expected[name]), total):
                step(name, page, number)
            page.wait_for_selector("#finished:visible")
            api.expect(page.locator("#done")).to_contain_text("every answer is saved", timeout=WAIT)
        first.screenshot(path=pictures / "4-finished.png")
        assert [page.wrong for page in pages.values()] == [[], []]
    kept = read_answers(study.folder / ANSWERS)
    for reader in study.readers:
        given = {each.answer.item: each.answer.choice for each in kept if each.reader == reader.name}
        assert [given[showing.id] for showing in reader.showings] == expected[reader.name]
    assert len(kept) == 2 * total
    assert all(0 < each.answer.seconds < 60 for each in kept)
    result = analyse_study(study.folder)
    write_analysis(pictures / "analysis", result)
    page = browser.new_page()
    page.goto((pictures / "analysis" / "report.html").as_uri())
    page.screenshot(path=pictures / "5-report.png", full_page=True)
    assert page.text_content("h1") == "Reader study: liver"
    kinds = kinds_of(study)
    assert Counter(kinds[each.answer.item] for each in kept)["real"] > 6


def millimetre(page) -> float:
    """Return how many pixels the scale bar says a millimetre has."""
    pixels = page.evaluate("document.querySelector('#scalebar').getBoundingClientRect().width")
    return pixels / float(page.text_content("#millimetres").removesuffix(" mm"))


def test_a_shape_turns_and_zooms_by_mouse_keys_and_buttons(study, browser, pictures):
    with served(study.folder) as (_, links):
        page = opened(browser, links["reader-1"])
        page.click("#start")
        start = shown(page)
        box = page.locator("#viewer").bounding_box()
        page.mouse.move(box["x"] + 200, box["y"] + 300)
        page.mouse.down()
        page.mouse.move(box["x"] + 320, box["y"] + 340, steps=5)
        page.mouse.up()
        turned = shown(page)
        assert (np.abs(turned - start) > 20).mean() > 0.02
        page.screenshot(path=pictures / "turned.png")
        page.click("#reset")
        assert np.abs(shown(page) - start).max() <= 2
        page.focus("#viewer")
        page.keyboard.press("ArrowRight")
        assert (np.abs(shown(page)[100:] - start[100:]) > 20).mean() > 0.005
        page.keyboard.press("0")
        bar = millimetre(page)
        for zoom in (
            lambda: page.keyboard.press("-"),
            lambda: page.click("#farther"),
            lambda: page.mouse.wheel(0, 300),
        ):
            page.mouse.move(box["x"] + 200, box["y"] + 300)
            before = coloured(shown(page))
            zoom()
            assert coloured(shown(page)) < 0.95 * before
        assert millimetre(page) < 0.9 * bar
        page.click("#closer")
        for _ in range(12):
            page.click("#closer")
            scale = page.evaluate("document.querySelector('#scale').getBoundingClientRect().left")
            # The cross of axes and its letters end at 0.12 + 1.4 * 0.06 and half a letter of the width.
            assert scale > box["x"] + 0.23 * box["width"]
        assert page.text_content("#millimetres") in ("2 mm", "5 mm", "10 mm")
        page.screenshot(path=pictures / "tiny.png")
        assert page.wrong == []


def test_a_study_goes_on_on_a_phone_where_it_stopped(study, browser, pictures):
    """Answers, their change, a pause, and the same link on a phone, by touch alone."""
    with served(study.folder) as (_, links):
        link = links["reader-2"]
        page = opened(browser, link)
        page.click("#start")
        answer(page, "real", 2)
        answer(page, "synthetic", 5)
        page.wait_for_selector("#loading", state="hidden")
        page.click("#back")
        assert page.is_checked("input[name=choice][value=synthetic]")
        assert page.is_checked("input[name=confidence][value='5']")
        page.check(f"#reasons input[value='{study.reasons[3]}']")
        page.fill("#comment", "odd <b>lobe</b>; r s 1 2")
        answer(page, "real", 1, by_key=False)
        page.wait_for_selector("#loading", state="hidden")
        page.click("#pause")
        assert page.is_hidden("#stage")
        page.wait_for_timeout(700)
        page.screenshot(path=pictures / "paused.png")
        page.click("#resume")
        saved(page)

        phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
        other = opened(browser, link, **phone)
        assert other.text_content("#start") == "Go on"
        other.tap("#start")
        assert count(other) == 2
        start = shown(other)
        assert coloured(start) > 2000
        other.screenshot(path=pictures / "phone.png")
        assert other.evaluate("document.documentElement.scrollWidth") <= 390
        touch(other, [(150, 300)], [(220, 330)])
        turned = shown(other)
        assert (np.abs(turned - start) > 20).mean() > 0.01
        touch(other, [(180, 300), (200, 300)], [(100, 300), (280, 300)])
        assert coloured(shown(other)) > 1.2 * coloured(turned)
        other.tap("input[name=choice][value=synthetic]")
        other.tap("input[name=confidence][value='3']")
        other.tap("#next")
        api.expect(other.locator("#count")).to_contain_text("3 of", timeout=WAIT)
        saved(other)
        assert page.wrong + other.wrong == []
    kept = [each.answer for each in read_answers(study.folder / ANSWERS)]
    assert [(each.choice, each.confidence) for each in kept] == [
        ("real", 2),
        ("synthetic", 5),
        ("real", 1),
        ("synthetic", 3),
    ]
    assert kept[2].item == kept[1].item
    assert (kept[2].reasons, kept[2].comment) == ((study.reasons[3],), "odd <b>lobe</b>; r s 1 2")
    assert [each.item for each in (kept[0], kept[1], kept[3])] == [s.id for s in study.readers[1].showings[:3]]


def touch(page, start, end, steps=6):
    """Move fingers from their places to others."""
    session = page.context.new_cdp_session(page)
    for k in range(steps + 1):
        points = [
            {"x": a[0] + (b[0] - a[0]) * k / steps, "y": a[1] + (b[1] - a[1]) * k / steps, "id": n}
            for n, (a, b) in enumerate(zip(start, end, strict=True))
        ]
        session.send("Input.dispatchTouchEvent", {"type": "touchMove" if k else "touchStart", "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_answers_wait_in_the_browser_over_a_reload(study, browser):
    """The server dies before an answer reaches it, and the page is loaded anew when it is back."""
    port = free_port()
    with served(study.folder, port=port) as (process, links):
        page = opened(browser, links["reader-1"])
        page.on("dialog", lambda dialog: dialog.accept())
        page.click("#start")
        page.wait_for_selector("#loading", state="hidden")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        answer(page, "synthetic", 4)
        page.wait_for_selector("#sent.waiting")
        page.goto("about:blank")
    assert read_answers(study.folder / ANSWERS) == []
    with served(study.folder, port=port):
        page.goto(links["reader-1"])
        saved(page)
        assert count(page) == 1
    (kept,) = read_answers(study.folder / ANSWERS)
    assert (kept.answer.choice, kept.answer.item) == ("synthetic", study.readers[0].showings[0].id)


def test_an_answer_needs_a_choice_and_a_confidence(study, browser):
    with served(study.folder) as (_, links):
        page = opened(browser, links["reader-1"])
        page.click("#start")
        page.wait_for_selector("#loading", state="hidden")
        page.keyboard.press("Enter")
        assert page.text_content("#alert") == "Please choose real or synthetic."
        page.keyboard.press("s")
        page.keyboard.press("Enter")
        assert page.text_content("#alert") == "Please say how sure you are."
        assert count(page) == 0
        assert page.evaluate("document.querySelectorAll('button:not([id])').length") == 0
    assert read_answers(study.folder / ANSWERS) == []


def test_a_wrong_link_shows_nothing(study, browser):
    with served(study.folder) as (_, links):
        page = browser.new_page()
        reply = page.goto(links["reader-1"][:-5] + "/")
        assert reply.status == 404
        assert page.locator("script").count() == 0
