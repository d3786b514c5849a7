"""Reviewing a curated folder in the browser: a small server on this machine, for one person."""

from __future__ import annotations

import errno
import json
import os
import secrets
import sys
import threading
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from shapegen.errors import ConfigError, RunFolderError, ShapegenError
from shapegen.progress import say

if TYPE_CHECKING:
    from shapegen.curation.desk import Desk

LOCAL = ("127.0.0.1", "localhost", "::1")
PAGES = {
    "": ("review.html", "text/html; charset=utf-8"),
    "review.css": ("review.css", "text/css; charset=utf-8"),
    "review.js": ("review.js", "text/javascript; charset=utf-8"),
    "viewer.js": ("viewer.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
LONGEST = 64 * 1024
JSON = "application/json"


def serve(folder: Path, *, host: str = "127.0.0.1", port: int = 0, open_browser: bool = True) -> None:
    """Show the items of a curated folder one by one and keep what is decided, until Ctrl-C or the page's button; then
    write report and lists anew.

    Args:
        folder: the curated folder.
        host: a name of this machine itself; no other is served.
        port: 0: any that is free.
        open_browser: whether to open the page, where there is a display.

    Raises:
        RunFolderError: the folder was not curated.
        ConfigError: the port is in use or not allowed, or the host is another machine.
        CorruptFileError: the folder's files are damaged.
    """
    server = make_server(folder, host=host, port=port)
    with server:
        say(f"review at {server.url} (Ctrl-C ends it; every decision is saved at once)")
        if open_browser and _has_display():
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("")
        finally:
            server.desk.finish()
        print(folder / "report.html", flush=True)


class Server(ThreadingHTTPServer):
    """Serves one folder to whoever knows the token."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], desk: Desk) -> None:
        super().__init__(address, Handler)
        self.desk = desk
        self.token = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """The page's address, with the token."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}/{self.token}/"

    def server_bind(self) -> None:
        # Not HTTPServer's: that asks the network for this machine's name, which can take long.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A browser that leaves while it is being answered is no error to tell of.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def make_server(folder: Path, *, host: str = "127.0.0.1", port: int = 0) -> Server:
    """Return the server, bound but not yet serving; arguments and errors as for `serve`."""
    from shapegen.curation.desk import Desk
    from shapegen.curation.folder import is_curated

    if host not in LOCAL[:2]:
        raise ConfigError(
            f"the review is for this machine only: expected the host 127.0.0.1 or localhost, got '{host}'"
        )
    if not is_curated(folder):
        raise RunFolderError(f"{folder} is no curated folder; make it with `shapegen curate DATA --out {folder}`")
    desk = Desk(folder)
    try:
        return Server((host, port), desk)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} is in use; give another --port, or 0 for any that is free") from error
        if error.errno == errno.EACCES:
            raise ConfigError(f"port {port} is not allowed for users; give one above 1023, or 0 for any") from error
        raise


class Handler(BaseHTTPRequestHandler):
    """Answers one connection. Paths begin with the token; items have numbers, so no path reaches the disk."""

    protocol_version = "HTTP/1.1"
    server_version = "shapegen"
    sys_version = ""
    timeout = 60

    @property
    def owner(self) -> Server:
        return cast(Server, self.server)

    def do_GET(self) -> None:
        parts = self._allowed()
        if parts is None:
            return
        try:
            content, kind = self._found(parts)
        except LookupError:
            self._answer(HTTPStatus.NOT_FOUND, b"not found")
        except (ShapegenError, OSError) as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode("utf-8", "replace"))
        else:
            self._answer(HTTPStatus.OK, content, kind)

    def do_POST(self) -> None:
        # A body that is not read would be taken for the next request.
        self.close_connection = True
        parts = self._allowed()
        if parts is None:
            return
        try:
            if parts == ["decide"]:
                said = self._said()
                self.owner.desk.decide(said["id"], said["verdict"], said.get("note", ""))
            elif parts != ["finish"]:
                raise LookupError(parts)
        except LookupError:
            self._answer(HTTPStatus.NOT_FOUND, b"not found")
        except (ValueError, TypeError, RecursionError, ConfigError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, str(error).encode("utf-8", "replace"))
        except (ShapegenError, OSError) as error:
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"not saved: {error}".encode("utf-8", "replace"))
        else:
            self._answer(HTTPStatus.OK, b"{}", JSON)
            if parts == ["finish"]:
                # Not from this thread: the server would wait for it.
                threading.Thread(target=self.server.shutdown, daemon=True).start()

    def _allowed(self) -> list[str] | None:
        """Return the path's parts after the token; None, and answer, where the request is not from the page.

        A page of another site may send requests to this machine, and with a name that it points here (DNS rebinding)
        even read the answers: the name in `Host` gives that away, and the token is not known to it.
        """
        token, *parts = urlsplit(self.path).path.removeprefix("/").split("/")
        origin = self.headers.get("Origin")
        local = _name(f"//{self.headers.get('Host', '')}") in LOCAL and (origin is None or _name(origin) in LOCAL)
        if local and secrets.compare_digest(token.encode(), self.owner.token.encode()):
            return parts
        self._answer(HTTPStatus.FORBIDDEN, b"not allowed: use the address that shapegen printed")
        return None

    def _found(self, parts: list[str]) -> tuple[bytes, str]:
        match parts:
            case [name] if name in PAGES:
                file, kind = PAGES[name]
                return (files("shapegen.curation") / "page" / file).read_bytes(), kind
            case ["state.json"]:
                return json.dumps(self.owner.desk.state()).encode(), JSON
            case ["items", number, part]:
                return self._of_item(_number(number, len(self.owner.desk.items)), part)
        raise LookupError(parts)

    def _of_item(self, number: int, part: str) -> tuple[bytes, str]:
        from shapegen.curation.pictures import VIEWS

        if part == "mesh":
            return self.owner.desk.mesh(number), "application/octet-stream"
        for view in VIEWS:
            if part == f"{view}.png":
                return self.owner.desk.picture(number, view), "image/png"
        raise LookupError(part)

    def _said(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get_content_type() != JSON or not 0 < length <= LONGEST:
            raise ValueError(f"expected at most {LONGEST} bytes of JSON")
        said = json.loads(self.rfile.read(length))
        if not isinstance(said, dict) or not isinstance(said.get("id"), str) or "verdict" not in said:
            raise ValueError("expected id and verdict")
        if not isinstance(said.get("note", ""), str):
            raise ValueError("expected the note as text")
        return said

    def _answer(self, status: HTTPStatus, content: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the user's."""


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _number(text: str, count: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) < count):
        raise LookupError(text)
    return int(text)


def _has_display() -> bool:
    """Whether a browser has a window; without one `webbrowser` would start a text browser in the terminal."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
