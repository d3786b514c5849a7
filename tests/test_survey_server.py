"""The study's server: what it tells, what it keeps, and what it refuses, over real HTTP and in real processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

from shapegen.errors import ConfigError, CorruptFileError, MissingLibraryError, RunFolderError
from shapegen.store import read_json
from shapegen.survey import serve as serving
from shapegen.survey.answers import Answer, Answers, read_answers
from shapegen.survey.app import CSRF, Limits, create_app, csrf_code
from shapegen.survey.choice import Wanted
from shapegen.survey.design import Design
from shapegen.survey.study import ANSWERS, load_study
from surveyed import HOW, SECRET, answering, ask, free_port, kinds_of, make_study, said, served

EVIL = (
    "'); DROP TABLE answers; --",
    '<script>alert("x")</script>',
    "=HYPERLINK(1)",
    "\x00\u202e😀",
    "' OR '1'='1",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("survey"))


@pytest.fixture
def study(made):
    """The study, without answers."""
    for path in made.folder.glob(f"{ANSWERS}*"):
        path.unlink()
    return made


@pytest.fixture
def desk(study):
    """(client, answers): the application without a server, and its file of answers."""
    answers = Answers(study.folder / ANSWERS)
    yield create_app(study, answers).test_client(), answers
    answers.close()


def base(study, number=0):
    return f"/r/{study.readers[number].token}/"


def code(study, number=0):
    return {CSRF: csrf_code(study, study.readers[number])}


def item(study, number=0, place=0):
    return study.readers[number].showings[place].id


def test_pages_have_a_strict_policy(study, desk):
    client, _ = desk
    for name, kind in (("", "text/html"), ("survey.js", "text/javascript"), ("viewer.js", "text/javascript")):
        answer = client.get(base(study) + name)
        assert answer.status_code == 200
        assert answer.content_type.startswith(kind)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers
    page = client.get(base(study)).text
    assert "<style" not in page
    assert " onclick" not in page
    assert page.count("<script") == page.count("<script src=") == 4


def test_an_answer_is_on_the_disk_when_it_is_acknowledged(study, desk):
    client, _ = desk
    reasons = list(study.reasons[:2])
    body = said(item(study), 1, choice="synthetic", confidence=5, reasons=reasons, comment=EVIL[1])
    answer = client.post(base(study) + "answers", json={"answers": [body]}, headers=code(study))
    assert answer.get_json() == {"saved": [body["answer"]], "refused": {}}
    (kept,) = read_answers(study.folder / ANSWERS)
    assert kept.reader == "reader-1"
    assert kept.answer == Answer(**{**body, "reasons": tuple(reasons)})
    state = client.get(base(study) + "state.json").get_json()
    assert state["answers"] == {item(study): {key: body[key] for key in ("choice", "confidence", "reasons", "comment")}}


def test_an_answer_sent_twice_counts_once_and_the_last_of_several_counts(study, desk):
    client, answers = desk
    for number, choice in ((1, "real"), (1, "real"), (2, "synthetic")):
        sent = {"answers": [said(item(study), number, choice=choice)]}
        reply = client.post(base(study) + "answers", json=sent, headers=code(study))
        assert reply.get_json()["saved"] == [f"{number:032x}"]
    kept = read_answers(study.folder / ANSWERS)
    assert [each.answer.choice for each in kept] == ["real", "synthetic"]
    assert [each.revision for each in kept] == sorted(each.revision for each in kept)
    assert answers.latest("reader-1")[item(study)].choice == "synthetic"


def test_answers_can_neither_be_changed_nor_deleted(study, desk):
    _, answers = desk
    answers.add("reader-1", [Answer(**{**said(item(study)), "reasons": ()})])
    with closing(sqlite3.connect(study.folder / ANSWERS)) as connection:
        for command in ("UPDATE answers SET choice = 'synthetic'", "DELETE FROM answers"):
            with pytest.raises(sqlite3.IntegrityError, match="only added to"):
                connection.execute(command)
    assert answers._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert answers._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


@pytest.mark.parametrize(
    "wrong",
    [
        {"choice": "maybe"},
        {"choice": None},
        {"confidence": 0},
        {"confidence": 6},
        {"confidence": "3"},
        {"confidence": True},
        {"confidence": 2.5},
        {"reasons": ["made up"]},
        {"reasons": "size"},
        {"comment": "x" * 2001},
        {"comment": "\ud800"},
        {"comment": 1},
        {"seconds": -1},
        {"seconds": 1e9},
        {"seconds": "NaN"},
        {"answer": "short"},
        {"answer": "0" * 31 + "\n"},
        {"item": "0000000000000000"},
        {"item": "' OR 1=1 --"},
        {"reader": "reader-2"},
    ],
)
def test_a_bad_answer_is_refused_and_costs_no_other(study, desk, wrong):
    client, _ = desk
    bad, good = {**said(item(study), 1), **wrong}, said(item(study), 2)
    reply = client.post(base(study) + "answers", json={"answers": [bad, good]}, headers=code(study))
    assert reply.status_code == 200
    assert reply.get_json()["saved"] == [good["answer"]]
    assert list(reply.get_json()["refused"]) == [bad["answer"]]
    assert [each.answer.answer for each in read_answers(study.folder / ANSWERS)] == [good["answer"]]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b'{"answers": 3}', "application/json", 400),
        (b'{"answers": [1]}', "application/json", 400),
        (b'{"answers": [{"answer": 1}]}', "application/json", 400),
        (b"[" * 20000, "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"answers": []}', "text/plain", 415),
        (b"answers=1", "application/x-www-form-urlencoded", 415),
        (b" " * (2 << 20), "application/json", 413),
        (json.dumps({"answers": [said("x", k) for k in range(201)]}).encode(), "application/json", 400),
    ],
)
def test_what_is_no_list_of_answers_is_refused(study, desk, content, kind, status):
    client, _ = desk
    reply = client.post(base(study) + "answers", data=content, content_type=kind, headers=code(study))
    assert reply.status_code == status
    assert read_answers(study.folder / ANSWERS) == []


@pytest.mark.parametrize("text", EVIL)
def test_text_is_kept_as_it_is(study, desk, text):
    client, _ = desk
    sent = {"answers": [said(item(study), 1, comment=text)]}
    assert client.post(base(study) + "answers", json=sent, headers=code(study)).status_code == 200
    assert [each.answer.comment for each in read_answers(study.folder / ANSWERS)] == [text]


def test_forged_requests_are_refused(study, desk):
    client, _ = desk
    body = {"answers": [said(item(study))]}
    wrong = [{}, {CSRF: ""}, {CSRF: "0" * 64}, {CSRF: "ü"}, code(study, 1)]
    wrong += [
        {**code(study), "Origin": origin}
        for origin in ("https://evil.example", "null", "http://localhost.evil", "http://[")
    ]
    for headers in wrong:
        assert client.post(base(study) + "answers", json=body, headers=headers).status_code == 403
    assert read_answers(study.folder / ANSWERS) == []
    same = {**code(study), "Origin": "http://localhost"}
    assert client.post(base(study) + "answers", json=body, headers=same).status_code == 200


def test_other_readers_are_out_of_reach(study, desk):
    client, answers = desk
    answers.add("reader-2", [Answer(**{**said(item(study, 1)), "reasons": (), "comment": "private"})])
    assert client.get(base(study) + f"items/{item(study, 1)}").status_code == 404
    reply = client.post(base(study) + "answers", json={"answers": [said(item(study, 1))]}, headers=code(study))
    assert reply.get_json()["saved"] == []
    state = client.get(base(study) + "state.json").text
    assert "private" not in state
    for reader in study.readers[1:]:
        assert reader.token not in state
        assert reader.name not in state
        assert not any(showing.id in state for showing in reader.showings)


@pytest.mark.parametrize(
    "path",
    [
        "state.json",
        "r/0/state.json",
        "r/{half}/state.json",
        "r/{token}x/state.json",
        "r/{upper}/state.json",
        "r/{token}/truth.json",
        "r/{token}/study.json",
        "r/{token}/answers.sqlite",
        "r/{token}/items/../truth.json",
        "r/{token}/..%2ftruth.json",
        "r/{token}/items/..%2f..%2ftruth.json",
        "r/{token}/items/{mesh}",
        "r/{token}/items/",
        "r/{token}/%2e%2e/study.json",
        "r/' OR '1'='1/state.json",
        "meshes/{mesh}.bin",
        "static/survey.js",
        "",
    ],
)
def test_nothing_else_is_there(study, desk, path):
    client, _ = desk
    token, mesh = study.readers[0].token, study.readers[0].showings[0].mesh
    filled = path.format(token=token, half=token[: len(token) // 2], upper=token.swapcase(), mesh=mesh)
    reply = client.get(f"/{filled}")
    assert reply.status_code == 404
    assert token not in reply.text
    assert len(reply.data) < 400


def test_a_link_without_its_last_slash_leads_to_the_page(study, desk):
    client, _ = desk
    reply = client.get(base(study).rstrip("/"), follow_redirects=True)
    assert reply.status_code == 200
    assert reply.request.path == base(study)


def test_strangers_are_slowed_down_and_readers_are_not(study):
    answers = Answers(study.folder / ANSWERS)
    client = create_app(study, answers, limits=Limits(stranger="5 per minute")).test_client()
    codes = [client.get(f"/r/guess-{k}/state.json").status_code for k in range(8)]
    assert codes == [404] * 5 + [429] * 3
    assert client.get(base(study) + "state.json").status_code == 200
    answers.close()


def test_each_link_has_a_limit_of_its_own(study):
    answers = Answers(study.folder / ANSWERS)
    client = create_app(study, answers, limits=Limits(reader="5 per minute")).test_client()
    codes = [client.get(base(study) + "state.json").status_code for _ in range(7)]
    assert codes == [200] * 5 + [429] * 2
    assert client.get(base(study, 1) + "state.json").status_code == 200
    answers.close()


def test_a_name_that_points_here_is_refused_on_this_machine_only(study, desk):
    client, answers = desk
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:8321"):
        assert client.get(base(study) + "state.json", headers={"Host": host}).status_code == 400
    for host in ("localhost:9", "127.0.0.1", "127.0.0.1:8321"):
        assert client.get(base(study) + "state.json", headers={"Host": host}).status_code == 200
    public = create_app(study, answers, hosts=None).test_client()
    assert public.get(base(study) + "state.json", headers={"Host": "survey.example.org"}).status_code == 200


def test_a_disk_that_fails_is_no_acknowledgement(study, desk, monkeypatch):
    client, answers = desk

    def full(*args):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(answers, "add", full)
    reply = client.post(base(study) + "answers", json={"answers": [said(item(study))]}, headers=code(study))
    assert reply.status_code == 503
    assert "saved" not in reply.get_json() or not reply.get_json().get("saved")


def test_nothing_that_a_browser_gets_tells_the_truth(study):
    """Every byte of every response of every item, all headers included, over a real server."""
    kinds = kinds_of(study)
    truth = read_json(study.folder / "truth.json")["items"]
    secrets = [SECRET, "patient", "truth", "near-copy", "sample-", *(row["id"] for row in truth.values()), *truth]
    sizes: dict[str, set[int]] = {}
    headers: dict[str, set[str]] = {}
    with served(study.folder) as (_, links):
        for reader, link in zip(study.readers, links.values(), strict=True):
            status, state, _ = ask(link, "state.json")
            assert status == 200
            data = json.loads(state)
            assert data["items"] == [{"id": s.id, "practice": s.practice} for s in reader.showings]
            assert set(data) == {"organ", "reasons", "csrf", "items", "answers"}
            assert b"real" not in state
            assert b"synthetic" not in state
            assert not any(secret.encode() in state for secret in secrets)
            for showing in reader.showings:
                status, mesh, said_headers = ask(link, f"items/{showing.id}")
                assert status == 200
                assert not any(secret.encode() in mesh for secret in secrets)
                said_headers.pop("Date")
                kind = kinds[showing.id]
                sizes.setdefault(kind, set()).add(len(mesh))
                headers.setdefault(kind, set()).add(json.dumps(said_headers, sort_keys=True))
        for name in ("", "survey.js", "outbox.js", "shape.js", "viewer.js", "survey.css"):
            content = ask(link, name)[1]
            assert not any(secret.encode() in content for secret in (SECRET, "truth.json", "near-copy"))
    assert sizes == {kind: {18 * HOW.faces} for kind in ("real", "synthetic", "near-copy")}
    assert len(set().union(*headers.values())) == 1


def test_the_server_needs_no_truth(study):
    """Opened files and all: with the truth taken away nothing changes."""
    hidden = study.folder.with_name("truth-elsewhere.json")
    (study.folder / "truth.json").rename(hidden)
    try:
        with served(study.folder) as (_, links):
            link = links["reader-1"]
            assert ask(link, "state.json")[0] == 200
            assert ask(link, f"items/{item(study)}")[0] == 200
            assert answering(link, [said(item(study))]) == [f"{0:032x}"]
    finally:
        hidden.rename(study.folder / "truth.json")


def test_ids_say_nothing_about_the_kind(study):
    """As numbers, the ids of real and of synthetic showings are alike (rank test), and so are the tokens' lengths."""
    from scipy.stats import mannwhitneyu

    kinds = kinds_of(study)
    real = [int(name, 16) for name, kind in kinds.items() if kind == "real"]
    other = [int(name, 16) for name, kind in kinds.items() if kind != "real"]
    assert mannwhitneyu(real, other).pvalue > 1e-4
    assert {len(name) for name in kinds} == {16}


def test_killing_the_server_loses_no_acknowledged_answer(study):
    """Three readers answer on and on; the server is killed three times without warning, and started again."""
    port = free_port()
    acknowledged: dict[str, list[str]] = {reader.name: [] for reader in study.readers}
    stop = threading.Event()

    def read(number):
        """Return how many answers were acknowledged."""
        reader = study.readers[number]
        link = f"http://127.0.0.1:{port}{base(study, number)}"
        count = 0
        while not stop.is_set() and count < 400:
            showing = reader.showings[count % len(reader.showings)]
            saved = answering(link, [said(showing.id, 1000 * number + count)], tries=300)
            acknowledged[reader.name] += saved
            count += 1
        return count

    pool = ThreadPoolExecutor(3)
    reading = [pool.submit(read, number) for number in range(3)]
    for _ in range(3):
        with served(study.folder, port=port) as (process, _):
            before = sum(map(len, acknowledged.values()))
            while sum(map(len, acknowledged.values())) < before + 20:
                stop.wait(0.05)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    with served(study.folder, port=port):
        stop.set()
        counts = [each.result() for each in reading]
    assert counts == [len(ids) for ids in acknowledged.values()]
    assert min(counts) > 5
    kept = read_answers(study.folder / ANSWERS)
    for name, ids in acknowledged.items():
        stored = [each.answer.answer for each in kept if each.reader == name]
        assert set(ids) <= set(stored)
        assert len(stored) == len(set(stored))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    wanted = Wanted(real=3, synthetic=3, practice=0, seed=1)
    return make_study(tmp_path_factory.mktemp("crowd"), wanted=wanted, design=Design(readers=50, repeats=2))


def test_fifty_readers_at_once_lose_nothing(crowd):
    """All 50 fetch every shape and answer it, one request after the other, all at the same time."""
    with served(crowd.folder) as (_, links):
        problems: list[str] = []

        def read(number):
            reader, link = crowd.readers[number], links[crowd.readers[number].name]
            for place, showing in enumerate(reader.showings):
                status, mesh, _ = ask(link, f"items/{showing.id}")
                if status != 200 or len(mesh) != 18 * HOW.faces:
                    problems.append(f"{reader.name}: {status}")
                choice = "real" if (number + place) % 2 else "synthetic"
                answering(link, [said(showing.id, place, choice=choice)])

        with ThreadPoolExecutor(50) as pool:
            list(pool.map(read, range(50)))
    assert problems == []
    kept = {(each.reader, each.answer.item): each.answer.choice for each in read_answers(crowd.folder / ANSWERS)}
    assert kept == {
        (reader.name, showing.id): "real" if (number + place) % 2 else "synthetic"
        for number, reader in enumerate(crowd.readers)
        for place, showing in enumerate(reader.showings)
    }


def test_one_server_at_a_time(study):
    with served(study.folder), pytest.raises(RunFolderError, match="in use by another shapegen"):
        serving.serve(study.folder, port=0)


def test_a_port_in_use_and_a_wrong_host_are_one_clear_line(study):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"^port {port} is in use; give another --port"):
            serving.serve(study.folder, port=port)
    with pytest.raises(ConfigError, match=r"cannot listen on '203\.0\.113\.9'"):
        serving.serve(study.folder, host="203.0.113.9", port=0)


def test_an_address_that_others_can_reach_is_said(study, capsys):
    lines: list[str] = []
    serving._announce(study, "http://10.0.0.5:8321", local=False, show=lines.append)
    said_text = capsys.readouterr().err
    assert "other machines can reach this server" in said_text
    assert "http is not encrypted" in said_text
    assert lines[0] == f"reader-1  http://10.0.0.5:8321{base(study)}"
    serving._announce(study, "https://survey.example.org", local=False, show=lines.append)
    assert "not encrypted" not in capsys.readouterr().err
    serving._announce(study, "http://127.0.0.1:8321", local=True, show=lines.append)
    assert "warning" not in capsys.readouterr().err


def test_a_missing_library_is_one_clear_line(study, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "waitress.server", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'shapegen\[survey\]'"):
        serving.serve(study.folder)


def test_a_damaged_file_of_answers_is_named(tmp_path):
    path = tmp_path / ANSWERS
    with pytest.raises(RunFolderError, match="no answers yet"):
        read_answers(path)
    path.write_bytes(b"not a database, certainly not one of ours" * 100)
    with pytest.raises(CorruptFileError, match="not a database of answers"):
        Answers(path)
    with pytest.raises(CorruptFileError, match="not a database of answers"):
        read_answers(path)


def test_meshes_come_as_they_lie_on_the_disk(study, desk):
    client, _ = desk
    found = load_study(study.folder).readers[0].showings[3]
    data = client.get(base(study) + f"items/{found.id}").data
    assert np.array_equal(np.frombuffer(data, "<i2"), np.fromfile(study.mesh(found), "<i2"))
