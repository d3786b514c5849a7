"""A file of which the beginning has come: `NAME.part`, and beside it what the server said of the whole of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from shapegen.errors import CorruptFileError
from shapegen.store import read_json, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What a server says of a file, which tells one version from another."""

    url: str
    etag: str | None
    modified: str | None
    total: int | None


def described(url: str, status: int, headers: Mapping[str, str]) -> tuple[Version, int]:
    """Return the version that is offered, and the byte with which the answer starts."""
    total, start = headers.get("Content-Length"), 0
    if status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
        start, total = (int(found[1]), found[2]) if found else (-1, None)
    whole = int(total) if total and total.isdigit() else None
    return Version(url=url, etag=headers.get("ETag"), modified=headers.get("Last-Modified"), total=whole), start


def same(one: Version, other: Version) -> bool:
    """Compare two versions in what both say."""
    pairs = [(asdict(one)[key], asdict(other)[key]) for key in asdict(one)]
    return all(first == second for first, second in pairs if None not in (first, second))


def known_version(part: Path, url: str) -> Version | None:
    """Return of which version of the file the part is, if it can be continued."""
    try:
        version = Version(**read_json(_beside(part)))
    except (OSError, TypeError, CorruptFileError):  # absent, torn or of another shapegen: then the part is of no use
        return None
    return version if version.url == url else None


def is_whole(part: Path, url: str, size: int) -> bool:
    """Tell whether nothing is missing; this is so if the end of a command came before the part got its name."""
    return known_version(part, url) is not None and length(part) == size


def length(part: Path) -> int:
    """Return the bytes that are there."""
    return part.stat().st_size if part.exists() else 0


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def remember(part: Path, version: Version) -> None:
    """Note of which version of the file the part is."""
    write_json(_beside(part), asdict(version))


def forget(part: Path) -> None:
    """Delete the part and what was noted of it."""
    _beside(part).unlink(missing_ok=True)
    part.unlink(missing_ok=True)
