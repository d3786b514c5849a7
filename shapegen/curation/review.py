"""Review of a curated folder in the browser: a small server for this machine only."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shapegen.curation.decisions import Decision, automatic_verdict, read_decisions, write_decision
from shapegen.curation.folder import read_curation
from shapegen.curation.verdicts import VERDICTS, Verdict
from shapegen.errors import ConfigError, RunFolderError, ShapegenError
from shapegen.progress import say

LARGEST_BODY = 64_000
FACES = 20_000
"""Of a surface that is sent to the page; larger ones are simplified."""


@dataclass(slots=True)
class Review:
    """A curated folder that is being reviewed.

    Args:
        folder: the curated folder.
        token: that every request must carry; it is in the address that is opened.
    """

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    lock: threading.Lock = field(default_factory=threading.Lock)
    data: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.data = read_curation(self.folder)

    def items(self) -> list[dict[str, Any]]:
        """Return what the page shows, the most doubtful first: `not_sure`, then by how near to even `ok` is, then the
        rest, the worst first."""
        decisions = read_decisions(self.folder)
        rows: list[dict[str, Any]] = []
        for item in self.data["items"]:
            decision = decisions.get(item["id"])
            rows.append(
                {
                    **{key: item[key] for key in ("id", "file", "findings", "repairs", "probability", "reason")},
                    "number": len(rows),
                    "automatic": automatic_verdict(item),
                    "decided": decision.verdict if decision else None,
                    "note": decision.note if decision else "",
                    "pictures": len(item["pictures"]),
                    "surface": item["surface"] is not None,
                    "severity": item["severity"],
                }
            )
        return sorted(rows, key=lambda row: (row["automatic"] != "not_sure", -_doubt(row), -row["severity"], row["id"]))

    def decide(self, number: int, verdict: Verdict | None, note: str) -> None:
        """Keep a decision on an item by its number, or take it back.

        Raises:
            ConfigError: no such item or class.
        """
        items = self.data["items"]
        if not 0 <= number < len(items) or (verdict is not None and verdict not in VERDICTS):
            raise ConfigError(f"expected an item below {len(items)} and one of {', '.join(VERDICTS)}")
        item = items[number]
        decision = None
        if verdict is not None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            decision = Decision(verdict, automatic_verdict(item), note[:2000], now)
        with self.lock:
            write_decision(self.folder, item["id"], decision)

    def picture(self, number: int, view: int) -> bytes | None:
        """Return a picture of an item, PNG; None where there is none."""
        names = self.data["items"][number]["pictures"] if 0 <= number < len(self.data["items"]) else []
        path = self.folder / names[view] if 0 <= view < len(names) else None
        return path.read_bytes() if path is not None and path.is_file() else None

    def surface(self, number: int) -> bytes | None:
        """Return an item's surface: two uint32, the numbers of vertices and faces, then float32 vertices [v, 3] in mm
        and uint32 faces [f, 3], little-endian; None where there is none."""
        import numpy as np

        from shapegen.geometry.export import read_mesh

        items = self.data["items"]
        name = items[number]["surface"] if 0 <= number < len(items) else None
        if name is None or not (self.folder / name).is_file():
            return None
        surface = read_mesh(self.folder / name)
        vertices, faces = surface.vertices, surface.faces
        if len(faces) > FACES:
            import igl

            found = igl.decimate(np.ascontiguousarray(vertices), np.ascontiguousarray(faces), FACES, True)
            vertices, faces = np.asarray(found[-4]), np.asarray(found[-3])
        head = np.array([len(vertices), len(faces)], "<u4").tobytes()
        return head + vertices.astype("<f4").tobytes() + faces.astype("<u4").tobytes()


def _doubt(row: Mapping[str, Any]) -> float:
    """Return 1 where `ok` is as likely as not, 0 where it is certain or impossible, or there is no classifier."""
    return 1 - abs(2 * row["probability"]["ok"] - 1) if row["probability"] else 0.0


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if not self._allowed(parse_qs(address.query).get("token", [""])[0]):
            return
        review, parts = self.server.review, address.path.strip("/").split("/")
        if parts == [""]:
            page = (files("shapegen.curation") / "review.html").read_bytes()
            self._send(page, "text/html; charset=utf-8")
        elif parts == ["items"]:
            content = {"organ": review.data["organ"], "verdicts": VERDICTS, "items": review.items()}
            self._send(json.dumps(content).encode(), "application/json")
        elif len(parts) == 3 and parts[0] == "picture" and all(part.isdecimal() for part in parts[1:]):
            self._send(review.picture(int(parts[1]), int(parts[2])), "image/png")
        elif len(parts) == 2 and parts[0] == "surface" and parts[1].isdecimal():
            self._send(review.surface(int(parts[1])), "application/octet-stream")
        else:
            self._send(None, "")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not self._allowed(self.headers.get("X-Token", "")):
            return
        if urlsplit(self.path).path != "/decide" or not length.isdecimal() or int(length) > LARGEST_BODY:
            self._send(None, "")
            return
        try:
            asked = json.loads(self.rfile.read(int(length)))
            self.server.review.decide(int(asked["number"]), asked["verdict"], str(asked.get("note", "")))
        except (ValueError, KeyError, TypeError, ShapegenError) as error:
            self._send(json.dumps({"error": str(error)}).encode(), "application/json", HTTPStatus.BAD_REQUEST)
            return
        self._send(b"{}", "application/json")

    def _allowed(self, token: str) -> bool:
        """Refuse who does not know the token, and pages of other names that resolve to this machine (DNS rebinding)."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host in ("127.0.0.1", "localhost") and secrets.compare_digest(token, self.server.review.token):
            return True
        self._send(b"forbidden", "text/plain", HTTPStatus.FORBIDDEN)
        return False

    def _send(self, body: bytes | None, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        if body is None:
            body, kind, status = b"not found", "text/plain", HTTPStatus.NOT_FOUND
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of single requests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    review: Review


def make_server(folder: Path, *, port: int = 0) -> tuple[_Server, str]:
    """Return a server on this machine's own address, not yet running, and the address to open.

    Raises:
        RunFolderError: the folder is no curated one, or the port is taken.
    """
    if not (folder / "curation.json").is_file():
        raise RunFolderError(f"{folder} is no curated folder; make one with `shapegen curate DATA --out {folder}`")
    try:
        server = _Server(("127.0.0.1", port), _Handler)
    except OSError as error:
        raise RunFolderError(f"port {port} cannot be used ({error.strerror}); give another --port") from error
    server.review = Review(folder)
    return server, f"http://127.0.0.1:{server.server_address[1]}/?token={server.review.token}"


def serve(folder: Path, *, port: int = 0, open_browser: bool = True) -> None:
    """Let a reviewer decide until the command is interrupted; then write lists and report again.

    Raises:
        RunFolderError: as `make_server`.
    """
    import webbrowser

    from shapegen.curation.report import write_lists, write_report

    server, address = make_server(folder, port=port)
    say(f"review at {address} (Ctrl-C ends it)")
    if open_browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    write_lists(folder)
    say(f"{len(read_decisions(folder))} decisions; report: {write_report(folder)}")
