"""A downloader for pooch that goes on where it was interrupted.

What has come lies in `NAME.part`, and beside it what the server said of the file (`NAME.part.json`). A request for the
rest is answered with the server's description of the file as it is now; only if that is the same is the rest added.
If-Range would ask the server to compare, but there are servers that answer it with the whole file though nothing has
changed, and 23 GB would start again each time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from shapegen.errors import DownloadError
from shapegen.fetch.meter import Meter
from shapegen.fetch.part import described, forget, is_whole, known_version, length, remember, same
from shapegen.progress import say

if TYPE_CHECKING:
    from requests import Response

TRIES = 5
"""Interruptions in a row without a byte in between, after which it gives up."""
PAUSE_S = 1.0
CHUNK = 1 << 20
TIMEOUT_S = (15, 60)
"""For a connection, and for the next bytes."""


class _StartAgainError(Exception):
    """What is there cannot be continued."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """The part, as the file that pooch writes into."""

    stream: BinaryIO
    size: int
    meter: Meter

    def write(self, data: bytes) -> int:
        if self.stream.tell() + len(data) > self.size:  # a server that says no length might never end
            raise _StartAgainError(f"the server sent more than {self.size} bytes")
        self.meter.advance(len(data))
        return self.stream.write(data)

    def flush(self) -> None:
        self.stream.flush()


def resume(url: str, output: str | Path, *, part: Path, size: int, meter: Meter) -> None:
    """Download a file of a known size, going on with what `part` holds; at the end `part` becomes `output`.

    Raises:
        DownloadError: the server refuses, offers a file of another size, or cannot be reached any more.
        OSError: the disk is full; `part` is kept.
    """
    try:
        _complete(url, part, size, meter)
    finally:
        if not length(part):
            forget(part)
    part.replace(output)
    forget(part)


def _complete(url: str, part: Path, size: int, meter: Meter) -> None:
    """Ask until nothing is missing."""
    from requests import RequestException

    failures = 0
    while not is_whole(part, url, size):
        before = length(part)
        try:
            _request(url, part, size, meter)
        except _StartAgainError as changed:
            say(f"{changed}: starting again")
            forget(part)
            failures += 1
            reason = str(changed)
        except RequestException as error:
            refused = _refused(error)
            if refused:
                raise DownloadError(f"{url}: {refused}") from error
            failures = 1 if length(part) > before else failures + 1
            reason = " ".join(str(error).split())
        if failures >= TRIES:
            raise DownloadError(
                f"{url}: interrupted {failures} times in a row, last by: {reason}; check the network (a proxy is "
                f"taken from HTTPS_PROXY) and run the same command again: {length(part) / 1e9:.2f} GB are kept"
            )
        if failures and not is_whole(part, url, size):
            time.sleep(PAUSE_S * 2 ** (failures - 1))


def _request(url: str, part: Path, size: int, meter: Meter) -> None:
    """Ask once for what is missing, and add it."""
    import pooch
    from requests.exceptions import ConnectionError as Interrupted

    known = known_version(part, url)
    had = length(part) if known else 0
    # identity: bytes are counted as the file has them, not as they were compressed on the way
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={had}-"} if had else {})}
    with part.open("r+b" if had else "wb") as stream:
        stream.seek(had)

        def accept(response: Response, *_: Any, **__: Any) -> None:
            """Decide what to do with an answer whose body has not been read."""
            if response.status_code == 416:
                raise _StartAgainError(f"{url} has fewer bytes than are here")
            if response.is_redirect or response.status_code >= 400:
                return  # followed, and raised as an error, by requests and pooch
            version, start = described(url, response.status_code, response.headers)
            if response.status_code == 206 and (start != had or known is None or not same(known, version)):
                raise _StartAgainError(f"{url} is another file than it was")
            if version.total not in (None, size):
                raise DownloadError(
                    f"{url}: expected {size} bytes, the server offers {version.total}; the published file was "
                    "replaced, or this is an error page: look at its page, and update shapegen"
                )
            if response.status_code != 206:
                if had:
                    say(f"{url} cannot be continued on this server: starting again")
                stream.seek(0)
                stream.truncate()
            remember(part, version)
            meter.begin(stream.tell(), version.total or size)

        options = {"headers": headers, "timeout": TIMEOUT_S, "hooks": {"response": accept}}
        pooch.HTTPDownloader(chunk_size=CHUNK, **options)(url, _Counted(stream, size, meter), None)
    if length(part) < size:  # an older urllib3 takes an early end for the end
        raise Interrupted(f"the connection ended after {length(part)} of {size} bytes")


def _refused(error: Exception) -> str | None:
    """Say why trying again at once is of no use, if it is not."""
    response: Response | None = getattr(error, "response", None)
    if response is None or response.status_code in (408, 429) or response.status_code >= 500:
        return None
    return f"the server refuses ({response.status_code} {response.reason}); look whether its page still offers the file"
