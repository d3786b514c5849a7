"""The review's server, asked over HTTP as a browser does."""

from __future__ import annotations

import http.client
import json
import struct
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from shapegen.curation.decisions import read_decisions
from shapegen.curation.review import FACES, make_server, serve
from shapegen.errors import RunFolderError
from shapegen.geometry.export import write_mesh
from shapegen.store import write_bytes, write_json
from tests.conftest import icosphere


def row(name, verdict, *, severity=0.0, ok=None, **more):
    return {
        "id": name,
        "file": f"/data/{name}",
        "group": name,
        "verdict": verdict,
        "after_repair": None,
        "probability": None if ok is None else {"ok": ok, "cut": 1 - ok, "require_edit": 0.0, "nope": 0.0},
        "severity": severity,
        "findings": [],
        "measures": {},
        "repairs": [],
        "repeats": {},
        "reason": "",
        "surface": None,
        "pictures": [],
        **more,
    }


@pytest.fixture
def server(tmp_path):
    ball = icosphere(6)
    write_mesh(tmp_path / "surfaces" / "ball.ply", ball.moved(60 * ball.vertices))
    write_bytes(tmp_path / "pictures" / "ball.png", b"\x89PNG not really")
    items = [
        row("certain", "ok", ok=0.99),
        row("bad", "nope", severity=40.0),
        row("torn", "ok", ok=0.55, surface="surfaces/ball.ply", pictures=["pictures/ball.png"]),
        row("unsure", "not_sure", severity=11.0, ok=0.3),
    ]
    content = {"organ": "liver", "items": items, "notes": [], "thresholds": {}}
    write_json(tmp_path / "curation.json", {"format": "shapegen-curation-1", **content})
    made, address = make_server(tmp_path)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield tmp_path, address
    made.shutdown()
    made.server_close()


def ask(address, path, *, method="GET", token=None, host=None, body=None):
    parts = urlsplit(address)
    token = parse_qs(parts.query)["token"][0] if token is None else token
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    headers = {"Host": host or parts.netloc, "X-Token": token}
    target = f"{path}?token={token}" if method == "GET" else path
    connection.request(method, target, body=None if body is None else json.dumps(body), headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_doubtful_come_first(server):
    status, body = ask(server[1], "/items")
    assert status == 200
    assert [item["id"] for item in json.loads(body)["items"]] == ["unsure", "torn", "certain", "bad"]


def test_page_pictures_and_surfaces(server):
    status, body = ask(server[1], "/")
    assert (status, b"<!doctype html>" in body, b"http://" in body) == (200, True, False)
    assert ask(server[1], "/picture/2/0") == (200, b"\x89PNG not really")
    status, body = ask(server[1], "/surface/2")
    vertices, faces = struct.unpack("<II", body[:8])
    assert status == 200
    assert 0 < faces <= FACES
    assert len(body) == 8 + 12 * vertices + 12 * faces


@pytest.mark.parametrize(
    "path",
    ["/picture/2/1", "/picture/0/0", "/surface/0", "/surface/99", "/picture/../curation.json", "/decisions.json", "/x"],
)
def test_what_is_not_there_is_not_found(server, path):
    assert ask(server[1], path)[0] == 404


def test_strangers_are_refused(server):
    folder, address = server
    decision = {"number": 0, "verdict": "cut"}
    assert ask(address, "/items", token="guess")[0] == 403
    assert ask(address, "/decide", method="POST", token="guess", body=decision)[0] == 403
    assert ask(address, "/items", host="evil.example:80")[0] == 403
    assert ask(address, "/decide", method="POST", host="evil.example", body=decision)[0] == 403
    assert read_decisions(folder) == {}


def test_decisions_are_kept_at_once_and_can_be_taken_back(server):
    folder, address = server
    assert ask(address, "/decide", method="POST", body={"number": 0, "verdict": "cut", "note": "tip"})[0] == 200
    kept = read_decisions(folder)["certain"]
    assert (kept.verdict, kept.automatic, kept.note) == ("cut", "ok", "tip")
    assert kept.at.endswith("+00:00")
    shown = {item["id"]: item for item in json.loads(ask(address, "/items")[1])["items"]}
    assert shown["certain"]["decided"] == "cut"
    assert ask(address, "/decide", method="POST", body={"number": 0, "verdict": None})[0] == 200
    assert read_decisions(folder) == {}


@pytest.mark.parametrize("body", [{}, {"number": 9, "verdict": "ok"}, {"number": 0, "verdict": "fine"}, [1], "x"])
def test_wrong_decisions_are_refused(server, body):
    folder, address = server
    status, answer = ask(address, "/decide", method="POST", body=body)
    assert status == 400
    assert "error" in json.loads(answer)
    assert read_decisions(folder) == {}


def test_many_decisions_at_once_are_all_kept(server):
    folder, address = server
    threads = [
        threading.Thread(
            target=ask, args=(address, "/decide"), kwargs={"method": "POST", "body": {"number": k % 4, "verdict": "ok"}}
        )
        for k in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_decisions(folder)) == 4


def test_a_taken_port_and_a_foreign_folder_are_one_clear_error(server, tmp_path):
    folder, address = server
    with pytest.raises(RunFolderError, match="another --port"):
        make_server(folder, port=urlsplit(address).port)
    with pytest.raises(RunFolderError, match="shapegen curate"):
        serve(tmp_path / "nothing", open_browser=False)
