"""File names that are made of names from outside: ids of items, of shapes, of samples."""

from __future__ import annotations

import hashlib
import re

LONGEST = 160
"""Bytes of a name. File systems take 255, and suffixes and the marks of half-written files come on top."""
AMBIGUOUS = re.compile(r"--|-/|/-")
UNUSUAL = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]|^[.]|[\ud800-\udfff]')


def file_stem(name: str) -> str:
    """Return a name as the first part of a file's name, in its folder whatever the name is.

    Slashes become `--`. A name that is long, has characters that some file system does not take, or could be taken for
    another with slashes, is shortened and gets a part of its hash, so that different names stay different.
    """
    stem = name.replace("/", "--")
    plain = UNUSUAL.sub("_", stem)
    if plain == stem and len(stem.encode()) <= LONGEST and not AMBIGUOUS.search(name):
        return stem
    kept = plain.encode()[: LONGEST - 17].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"
