"""The review's server, asked over real HTTP: what it shows, keeps and refuses."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pytest

from curated import CAP, EVIL, curated, row, shape
from shapegen.curation.decimation import decimated
from shapegen.curation.decisions import read_decisions
from shapegen.curation.desk import FACES, doubt
from shapegen.curation.review import make_server, serve
from shapegen.errors import ConfigError, CorruptFileError, RunFolderError
from shapegen.geometry.surface import area

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Client:
    """Asks a server that runs in a thread."""

    def __init__(self, folder):
        self.server = make_server(folder)
        self.token = self.server.token
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def ask(self, path, *, body=None, token=None, headers=None, raw=False):
        """Return status, content and headers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        path = path if raw else f"/{self.token if token is None else token}/{path}"
        method = "GET" if body is None else "POST"
        kind = {} if body is None else {"Content-Type": "application/json"}
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, content, {**kind, **(headers or {})})
        answer = connection.getresponse()
        found = answer.status, answer.read(), dict(answer.getheaders())
        connection.close()
        return found

    def stop(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    client = Client(curated(tmp_path_factory.mktemp("curated"), pictures=False))
    yield client
    client.stop()


@pytest.fixture
def folder(client):
    """The folder of `client`, without decisions."""
    folder = client.server.desk.folder
    client.server.desk._decisions = {}
    (folder / "decisions.json").unlink(missing_ok=True)
    return folder


def test_pages_are_served_with_a_strict_policy(client):
    for path, kind in (("", "text/html"), ("review.js", "text/javascript"), ("review.css", "text/css")):
        status, content, headers = client.ask(path)
        assert status == 200
        assert content
        assert headers["Content-Type"].startswith(kind)
        assert "default-src 'none'; script-src 'self';" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"


def test_doubtful_items_come_first_and_unreadable_ones_do_not(client):
    state = json.loads(client.ask("state.json")[1])
    assert [item["id"] for item in state["items"]] == [
        "livers/strange",  # the checks are not sure
        "livers/cut-more",  # no probability: the more severe first
        EVIL,
        "livers/mended",
        "livers/fair",  # ok with 62 %
        "livers/cut",  # 95 %
        "livers/good",
    ]
    assert state["unreadable"] == 1
    assert state["items"][3]["automatic"] == "ok"


def test_doubt_of_items_without_classifier():
    assert doubt(row("a", "ok", 0.0)) == 0.0
    assert doubt(row("a", "cut", 0.0, CAP)) == 0.5
    assert doubt(row("a", "cut", 0.0, CAP, probability={"ok": 0.8, "cut": 0.2})) == 0.8


def test_pictures_and_mesh(client):
    status, content, headers = client.ask("items/0/anterior.png")
    assert (status, headers["Content-Type"], content[:4]) == (200, "image/png", b"\x89PNG")
    status, mesh, _ = client.ask("items/0/mesh")
    vertices, faces = np.frombuffer(mesh, "<u4", 2)
    assert len(mesh) == 8 + 24 * vertices + 6 * faces
    places = np.frombuffer(mesh, "<f4", 3 * vertices, 8).reshape(-1, 3)
    normals = np.frombuffer(mesh, "<f4", 3 * vertices, 8 + 12 * vertices).reshape(-1, 3)
    corners = np.frombuffer(mesh, "<u2", 3 * faces, 8 + 24 * vertices)
    assert np.allclose(places.min(axis=0), -places.max(axis=0), atol=1e-3)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-3)
    assert (np.einsum("vk,vk->v", places, normals) > 0).mean() > 0.9
    assert corners.max() == vertices - 1


def test_a_decision_is_on_disk_when_the_answer_comes(client, folder):
    assert client.ask("decide", body={"id": EVIL, "verdict": "nope", "note": "<b>"})[0] == 200
    kept = read_decisions(folder)[EVIL]
    assert (kept.verdict, kept.automatic, kept.note) == ("nope", "require_edit", "<b>")
    assert kept.at.endswith("+00:00")
    assert json.loads(client.ask("state.json")[1])["decisions"] == {EVIL: {"verdict": "nope", "note": "<b>"}}
    assert client.ask("decide", body={"id": EVIL, "verdict": None})[0] == 200
    assert read_decisions(folder) == {}


def test_decisions_at_once_are_all_kept(client, folder):
    names = [item["id"] for item in client.server.desk.items]
    threads = [threading.Thread(target=client.ask, args=("decide",), kwargs={"body": {"id": name, "verdict": "ok"}})
               for name in names]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_decisions(folder)) == set(names)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": "livers/none", "verdict": "ok"}, 404),
        ({"id": "=HYPERLINK(1)", "verdict": "ok"}, 404),
        ({"id": "livers/good", "verdict": "good"}, 400),
        ({"id": "livers/good", "verdict": {"ok": 1}}, 400),
        ({"id": "livers/good"}, 400),
        ({"id": ["livers/good"], "verdict": "ok"}, 400),
        ({"id": "livers/good", "verdict": "ok", "note": 3}, 400),
        ([1], 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 20000, 400),
        (b"", 400),
        (b" " * 70000, 400),
    ],
)
def test_what_is_no_decision_is_refused(client, folder, body, status):
    assert client.ask("decide", body=body)[0] == status
    assert read_decisions(folder) == {}


def test_wrong_token(client, folder):
    body = {"id": "livers/good", "verdict": "cut"}
    for token in ("", "wrong", client.token[:-1], "%C3%BC"):
        assert client.ask("decide", body=body, token=token)[0] == 403
        assert client.ask("state.json", token=token)[0] == 403
    assert client.ask("/", raw=True)[0] == 403
    assert client.ask("/decide", raw=True, body=body)[0] == 403
    assert read_decisions(folder) == {}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "localhost@evil.example"]
)
def test_wrong_host(client, folder, host):
    assert client.ask("state.json", headers={"Host": host})[0] == 403
    assert client.ask("decide", body={"id": "livers/good", "verdict": "cut"}, headers={"Host": host})[0] == 403
    assert read_decisions(folder) == {}


def test_local_hosts_and_forwarded_ports(client):
    for host in ("localhost", "127.0.0.1:9999", "[::1]:80", f"LOCALHOST:{client.port}"):
        assert client.ask("state.json", headers={"Host": host})[0] == 200


def test_other_origins_and_forms(client, folder):
    body = {"id": "livers/good", "verdict": "cut"}
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        assert client.ask("decide", body=body, headers={"Origin": origin})[0] == 403
    assert client.ask("decide", body=body, headers={"Content-Type": "text/plain"})[0] == 400
    assert read_decisions(folder) == {}
    assert client.ask("decide", body=body, headers={"Origin": f"http://127.0.0.1:{client.port}"})[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        *("../curation.json", "..%2fcuration.json", "curation.json", "report.html", "desk.py", "page/review.js"),
        *("items/7/mesh", "items/-1/mesh", "items/0/../../curation.json", "items/0/x.png", "items/0", "items/a/mesh"),
        *(
            "items/%C2%B2/mesh",
            "items/0/%2e%2e",
            "items/99999999999999999999/mesh",
            "items/0/superior.png",
            "//etc/passwd",
            "decide",
        ),
    ],
)
def test_no_path_reaches_the_disk(client, path):
    assert client.ask(path)[0] == 404


def test_other_methods_are_refused(client):
    connection = HTTPConnection("127.0.0.1", client.port, timeout=20)
    connection.request("PUT", f"/{client.token}/decide", b"{}")
    assert connection.getresponse().status == 501
    connection.close()


def test_a_disk_that_fails_is_told(client, folder, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shapegen.curation.desk.write_decision", full)
    status, content, _ = client.ask("decide", body={"id": "livers/good", "verdict": "cut"})
    assert status == 500
    assert b"not saved: [Errno 28] No space left" in content
    assert json.loads(client.ask("state.json")[1])["decisions"] == {}


def test_a_lost_surface_costs_that_item_only(client, tmp_path):
    folder = curated(tmp_path, pictures=False)
    (folder / "surfaces" / "6.ply").unlink()
    other = Client(folder)
    try:
        assert other.ask("items/0/mesh")[0] == 500
        assert other.ask("items/1/mesh")[0] == 200
    finally:
        other.stop()


def test_finish_ends_the_review_and_writes_report_and_lists(tmp_path, capsys, monkeypatch):
    folder = curated(tmp_path, pictures=False)
    made = []
    monkeypatch.setattr(
        "shapegen.curation.review.make_server", lambda *args, **more: made.append(make_server(*args, **more)) or made[0]
    )
    thread = threading.Thread(target=serve, args=(folder,), kwargs={"open_browser": False})
    thread.start()
    while not made:
        thread.join(0.01)
    address = urlsplit(made[0].url)
    for path, body in (("decide", {"id": "livers/good", "verdict": "cut"}), ("finish", {})):
        connection = HTTPConnection(address.netloc, timeout=20)
        connection.request("POST", address.path + path, json.dumps(body), {"Content-Type": "application/json"})
        assert connection.getresponse().status == 200
        connection.close()
    thread.join(20)
    assert not thread.is_alive()
    assert (folder / "cut.txt").read_text().splitlines()[0] == "livers/good"
    assert "overruled by" in (folder / "report.html").read_text()
    said = capsys.readouterr()
    assert made[0].url in said.err
    assert said.out == f"{folder / 'report.html'}\n"


def test_interrupting_ends_the_review_too(tmp_path, monkeypatch):
    folder = curated(tmp_path, pictures=False)

    def interrupted(self):
        self.desk.decide("livers/good", "nope")
        raise KeyboardInterrupt

    monkeypatch.setattr("shapegen.curation.review.Server.serve_forever", interrupted)
    serve(folder, open_browser=False)
    assert "livers/good" in (folder / "nope.txt").read_text()


def test_a_port_in_use_is_one_clear_line(tmp_path):
    folder = curated(tmp_path, pictures=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"^port {port} is in use; give another --port"):
            make_server(folder, port=port)


def test_only_this_machine_and_only_curated_folders(tmp_path):
    with pytest.raises(RunFolderError, match="no curated folder"):
        make_server(tmp_path)
    (tmp_path / "curation.json").write_text("{")
    with pytest.raises(CorruptFileError, match=r"curation\.json"):
        make_server(tmp_path)
    with pytest.raises(ConfigError, match="this machine only"):
        make_server(tmp_path, host="0.0.0.0")


def test_decimation_keeps_the_form():
    fine = shape([90.0, 70, 60], subdivisions=6)
    assert len(fine.faces) > 4 * FACES
    thin = decimated(fine, FACES)
    assert FACES / 2 < len(thin.faces) <= FACES
    assert area(thin) == pytest.approx(area(fine), rel=0.02)
    assert decimated(thin, FACES) is thin
    assert 0 < len(decimated(fine, 100).faces) <= 100


def test_importing_is_light():
    script = (
        "import sys, shapegen.curation.review; print([m for m in ('numpy', 'torch', 'trimesh') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_the_page_shows_the_first_item_in_a_browser(client, folder, tmp_path):
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=5000",
        f"--user-data-dir={tmp_path}",
    ]
    done = subprocess.run(
        [CHROMIUM, *options, "--dump-dom", client.server.url], capture_output=True, text=True, timeout=60, check=True
    )
    assert '<h2 id="name">livers/strange</h2>' in done.stdout
    assert "0 of 7 decided" in done.stdout
    assert done.stdout.count("<kbd>") >= 10
