"""Reads a page's viewer: its data and meshes, decoded by the description in `shapegen.report.packing.pack`."""

from __future__ import annotations

import base64
import json
import re
import zlib

import numpy as np


def viewer_data(page: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="viewer-data">(.*?)</script>', page, flags=re.S)
    return json.loads(text)


def unpack(mesh: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return vertices [v, 3] in mm where the whole shape lies, faces [f, 3], and values [v] if there are any."""
    raw = zlib.decompress(base64.b64decode(mesh["data"]))
    v, f = mesh["vertices"], mesh["faces"]
    places = np.frombuffer(raw, "<u2", 3 * v).reshape(3, v).astype(np.int64).cumsum(axis=1) % 65536
    first, second, third = np.frombuffer(raw, "<u2", 3 * f, offset=6 * v).reshape(3, f).astype(np.int64)
    first = first.cumsum() % 65536
    faces = np.stack([first, (first + second) % 65536, (first + third) % 65536], axis=1)
    vertices = places.T * mesh["step"] + np.array(mesh["corner"]) + np.array(mesh["middle"])
    rest = np.frombuffer(raw, np.uint8, offset=6 * (v + f))
    return vertices, faces, rest / 255 * mesh["largest"] if len(rest) else None
