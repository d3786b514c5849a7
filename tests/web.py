"""A web server of one file, on this machine, that can be told to misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, how, and what was asked for.

    Args:
        content: the file.
        etag: its version; none is said if empty.
        ranges: parts of it can be asked for.
        length: its length is said.
        cuts: for each answer that ends early, the number of bytes after which it does.
        damaged: the number of answers in which a byte is wrong.
        codes: status codes to answer with instead, one for each request.
        asked: the Range header of each request, or "".
        sent: the bytes of each answer.
        url: where it is; `/moved.zip` beside it leads there.
    """

    content: bytes
    etag: str = '"first"'
    ranges: bool = True
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    damaged: int = 0
    codes: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    url: str = ""


@contextmanager
def served(site: Site) -> Iterator[Site]:
    """Serve a site while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            site.asked.append(wanted)
            if self.path == "/moved.zip":
                self.send_response(302)
                self.send_header("Location", "/data.zip")
                self.end_headers()
                return
            if site.codes:
                self.send_response(site.codes.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and site.ranges else 0
            if wanted and site.ranges and start >= len(site.content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = bytearray(site.content[start:])
            if site.damaged:
                site.damaged -= 1
                body[len(body) // 2] ^= 1
            self.send_response(206 if wanted and site.ranges else 200)
            if wanted and site.ranges:
                whole = len(site.content)
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            if site.length:
                self.send_header("Content-Length", str(len(body)))
            if site.etag:
                self.send_header("ETag", site.etag)
            self.end_headers()
            cut = site.cuts.pop(0) if site.cuts else len(body)
            with suppress(ConnectionError):  # the client may have had enough
                self.wfile.write(body[:cut])
            site.sent.append(min(cut, len(body)))
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/data.zip"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
