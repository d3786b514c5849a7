"""A hash in the header of a safetensors file, by which damage is found that leaves the file readable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

SEAL = "sha256"
"""Key of the hash in the file's metadata."""
HEAD = 8
"""A safetensors file begins with the length of its JSON header, 8 bytes, little-endian; then header and tensors."""
CHUNK = 1 << 20


def sealed(file: bytes, metadata: Mapping[str, str] | None) -> bytes:
    """Return a safetensors file with this metadata and its hash, byte for byte the same for the same content.

    safetensors itself writes the metadata in an order that changes from process to process.
    """
    stream = BytesIO(file)
    header = _header(stream, len(file))
    assert header is not None  # safetensors wrote it a moment ago
    about = dict(sorted((metadata or {}).items()))
    header = {"__metadata__": about, **{name: value for name, value in header.items() if name != "__metadata__"}}
    body = stream.read()
    about[SEAL] = _hash(header, [body])
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % HEAD)
    return b"".join((len(text).to_bytes(HEAD, "little"), text, body))


def is_whole(path: Path, *, otherwise: bool = True) -> bool:
    """Tell whether a safetensors file has the content that was written.

    Args:
        otherwise: what to say of a file without a hash, as others write it; what is not safetensors at all is one.
    """
    with path.open("rb") as stream:
        header = _header(stream, path.stat().st_size)
        about = header.get("__metadata__") if header else None
        if header is None or not isinstance(about, dict) or SEAL not in about:
            return otherwise
        return bool(about[SEAL] == _hash(header, iter(lambda: stream.read(CHUNK), b"")))


def _header(stream: BinaryIO, size: int) -> dict[str, Any] | None:
    length = int.from_bytes(stream.read(HEAD), "little")
    if length > size - HEAD:
        return None
    try:
        header = json.loads(stream.read(length))
    except (ValueError, RecursionError):
        return None
    return header if isinstance(header, dict) else None


def _hash(header: Mapping[str, Any], body: Iterable[bytes]) -> str:
    about = {name: value for name, value in header["__metadata__"].items() if name != SEAL}
    unsealed = {**header, "__metadata__": about}
    digest = hashlib.sha256(json.dumps(unsealed, sort_keys=True, separators=(",", ":")).encode())
    for chunk in body:
        digest.update(chunk)
    return digest.hexdigest()
