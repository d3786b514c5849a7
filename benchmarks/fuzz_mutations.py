"""Damaged files: bytes changed anywhere, or a valid file's own structure filled with values that no good file has."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random], bytes]

NUMBERS = (0, 1, 2, 3, 7, 127, 128, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)
ODD_VALUES: tuple[Any, ...] = (
    None, True, "", "x", "\0", "../../up", "/etc/passwd", "a/b", "C:\\x", "é" * 300, 0, -1, 1e-300, 1e300, 10**30,
    2**63, float("nan"), float("inf"), [], {}, [[]], [None], {"": None}, {"name": 3}, [1, "2", 3.0], "1" * 5000, "*a",
)  # fmt: skip
WORDS = (b"nan", b"inf", b"-1", b"1e999", b"99999999999", b"0", b"\n", b"\0", b"f 1 2", b"v 1", b"{", b"[", b"<", b"&")


def bytes_changed(data: bytes, random: Random) -> bytes:
    """Flip, overwrite, cut, repeat or insert, once or some times."""
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        if not damaged:
            return bytes(damaged)
        place = random.randrange(min(len(damaged), 512) if random.random() < 0.5 else len(damaged))
        _change(damaged, place, random)
    return bytes(damaged)


def _change(damaged: bytearray, place: int, random: Random) -> None:
    size = min(random.choice((1, 2, 4, 8, 64)), len(damaged) - place)
    kind = random.randrange(7)
    if kind == 0:
        damaged[place] ^= 1 << random.randrange(8)
    elif kind == 1:
        value = random.choice(NUMBERS) * random.choice((1, -1))
        size = random.choice((1, 2, 4, 8))
        order = random.choice(("little", "big"))
        damaged[place : place + size] = (value % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
    elif kind == 2:
        del damaged[place:]
    elif kind == 3:
        del damaged[place : place + size]
    elif kind == 4:
        damaged[place:place] = damaged[place : place + size] * random.choice((1, 2, 100))
    elif kind == 5:
        damaged[place : place + size] = random.randbytes(size)
    else:
        damaged[place:place] = random.choice(WORDS)


def noise(data: bytes, random: Random) -> bytes:
    """Begin as the file does, and go on with anything."""
    return data[: random.choice((0, 4, 16, 100))] + random.randbytes(random.choice((0, 1, 10, 1000)))


def nifti_header(data: bytes, random: Random) -> bytes:
    """Set fields of a NIfTI-1 header (348 bytes) to values at and beyond the edge of what they may be."""
    damaged = bytearray(data)
    floats = (0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), 3.5, 1e6)
    for _ in range(random.choice((1, 1, 2, 3))):
        kind = random.randrange(5)
        if kind == 0:  # dim[8]
            value = random.choice((-1, 0, 1, 2, 5, 7, 100, 10000, 32767))
            struct.pack_into("<h", damaged, 40 + 2 * random.randrange(8), value)
        elif kind == 1:  # datatype, bitpix
            value = random.choice((0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304))
            struct.pack_into("<h", damaged, random.choice((70, 72)), value)
        elif kind == 2:  # pixdim[8], vox_offset, scl_slope, scl_inter
            struct.pack_into("<f", damaged, 76 + 4 * random.randrange(11), random.choice(floats))
        elif kind == 3:  # codes, quaternion, offsets, srows
            struct.pack_into("<f", damaged, 252 + 4 * random.randrange(19), random.choice(floats))
        else:  # all three dimensions at once: a promise of up to 3e13 voxels
            struct.pack_into("<4h", damaged, 40, 3, *random.choices((2, 1000, 32767), k=3))
    return bytes(damaged)


def compressed(mutation: Mutation) -> Mutation:
    """Apply a mutation to what a gzip file holds."""

    def change(data: bytes, random: Random) -> bytes:
        return gzip.compress(mutation(gzip.decompress(data), random), 1, mtime=0)

    return change


def json_values(data: bytes, random: Random) -> bytes:
    """Replace, drop, double or rename single values of a JSON file."""
    tree = json.loads(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        tree = _changed(tree, random)
    if random.random() < 0.02:
        return b"[" * random.choice((100, 100_000))
    return json.dumps(tree).encode()


def _changed(tree: Any, random: Random) -> Any:
    if not isinstance(tree, dict | list) or not tree or random.random() < 0.1:
        return deepcopy(random.choice(ODD_VALUES))
    key: Any = random.choice(list(tree)) if isinstance(tree, dict) else random.randrange(len(tree))
    kind = random.randrange(6)
    if kind == 0:
        del tree[key]
    elif kind == 1 and isinstance(tree, dict):
        tree[str(random.choice(ODD_VALUES))] = tree.pop(key)
    elif kind == 2 and isinstance(tree, list):
        tree.append(tree[key])
    else:
        tree[key] = _changed(tree[key], random)
    return tree


def safetensors_header(data: bytes, random: Random) -> bytes:
    """Change the JSON header of a safetensors file, with a right or a wrong length before it."""
    length = int.from_bytes(data[:8], "little")
    header = json_values(data[8 : 8 + length].rstrip(), random)
    said = len(header) if random.random() < 0.8 else random.choice(NUMBERS)
    return (said % 2**64).to_bytes(8, "little") + header + data[8 + length :]


def one_of(mutations: Sequence[Mutation]) -> Mutation:
    """Take one of these, each time anew."""
    return lambda data, random: random.choice(mutations)(data, random)
