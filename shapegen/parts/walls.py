"""The surfaces of all parts at once: neighbours share every vertex and face of the wall between them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapegen.geometry.surface import Points, Surface
from shapegen.parts.partition import Partition
from shapegen.parts.tetrahedra import CASES

Index = NDArray[np.int64]

_STEPS = np.array([np.eye(3, dtype=np.int64)[list(order)] for order in itertools.permutations(range(3))])
"""The six ways [6, 3, 3] along the axes from a cell's first corner to its last: each is one tetrahedron (Freudenthal's
division), and neighbouring cells divide their common face alike."""
_NEAR = 0.05
"""Walls keep this share of an edge away from its ends, so that no face is without area."""


@dataclass(frozen=True, slots=True, eq=False)
class Walls:
    """All walls of a partition.

    Args:
        vertices: [v, 3], mm, RAS.
        faces: [f, 3], counter-clockwise seen from the side of `sides[:, 1]`.
        sides: uint8 [f, 2], the labels on both sides, the first one's normal pointing outwards; 0 is outside.
    """

    vertices: Points
    faces: Index
    sides: NDArray[np.uint8]

    def part(self, label: int) -> Surface:
        """Return one part's surface: closed, oriented outwards; without faces where the part is absent."""
        own = np.concatenate([self.faces[self.sides[:, 0] == label], self.faces[self.sides[:, 1] == label][:, ::-1]])
        used, faces = np.unique(own, return_inverse=True)
        return Surface(self.vertices[used], faces.reshape(-1, 3).astype(np.int64))


def walls_of(divided: Partition) -> Walls:
    """Return the walls between all parts, and between them and the outside, by marching tetrahedra for many labels.

    Every part's surface is closed and every edge of it has two faces: a part is one label against all others, for
    which marching tetrahedra has no ambiguous case. A wall crosses a lattice edge where the two logits are equal, and
    the outer surface where the distance is zero (linear along the edge).
    """
    corners = _tetrahedra(divided.labels)
    labels = divided.labels.ravel()[corners]
    order = np.argsort(labels, axis=1, kind="stable")
    corners, labels = np.take_along_axis(corners, order, axis=1), np.take_along_axis(labels, order, axis=1)
    equal = (labels[:, 1:] == labels[:, :-1]).astype(np.int64)
    keys, sides, first = [], [], []
    for pattern, triangles in CASES.items():
        own = np.flatnonzero((equal == pattern).all(axis=1))
        for (a, b), points in triangles:
            chosen = corners[own]
            keys.append(np.stack([_key(chosen, point) for point in points], axis=1))
            sides.append(labels[own][:, [a, b]])
            first.append(chosen[:, [a, b]])
    key, side, parted = np.concatenate(keys), np.concatenate(sides), np.concatenate(first)
    names, faces = np.unique(key.reshape(-1, 4), axis=0, return_inverse=True)
    faces = faces.reshape(-1, 3).astype(np.int64)
    # Which way a face looks is decided with all points in the middle of their edges, where none is degenerate.
    rough, exact = _positions(names, divided, halves=True), _positions(names, divided, halves=False)
    p, q, r = np.moveaxis(rough[faces], 1, 0)
    towards = _place(parted[:, 1], divided) - _place(parted[:, 0], divided)
    wrong = np.einsum("fi,fi->f", np.cross(q - p, r - p), towards) < 0
    faces[wrong] = faces[wrong][:, ::-1]
    return Walls(exact @ divided.affine[:3, :3].T + divided.affine[:3, 3], faces, side.astype(np.uint8))


def _tetrahedra(labels: NDArray[np.uint8]) -> Index:
    """Return the corners [t, 4], as flat indices, of all tetrahedra whose corners have different labels."""
    shape = np.array(labels.shape)
    offset = np.array(list(itertools.product((0, 1), repeat=3)))
    views = [labels[tuple(slice(o, o + n - 1) for o, n in zip(each, shape, strict=True))] for each in offset]
    cells = np.argwhere(np.any([view != views[0] for view in views], axis=0))
    ways = np.concatenate([np.zeros((6, 1, 3), dtype=np.int64), np.cumsum(_STEPS, axis=1)], axis=1)
    corners = cells[:, None, None, :] + ways
    flat = np.ravel_multi_index(tuple(np.moveaxis(corners.reshape(-1, 4, 3), -1, 0)), tuple(shape))
    found = labels.ravel()[flat]
    return np.asarray(flat[(found != found[:, :1]).any(axis=1)], dtype=np.int64)


def _key(corners: Index, point: tuple[int, ...]) -> Index:
    """Return the name [t, 4] of a point: the sorted corners that it lies between, -1 for none."""
    name = np.full((len(corners), 4), -1, dtype=np.int64)
    name[:, : len(point)] = np.sort(corners[:, list(point)], axis=1)
    return name


def _positions(names: Index, divided: Partition, *, halves: bool) -> Points:
    """Return the points [v, 3], in lattice indices: the mean of the edge points between a name's corners."""
    total, count = np.zeros((len(names), 3)), np.zeros((len(names), 1))
    for a, b in itertools.combinations(range(4), 2):
        there = np.flatnonzero(names[:, b] >= 0)
        start, end = names[there, a], names[there, b]
        share = np.full(len(there), 0.5) if halves else _crossing(start, end, divided)
        total[there] += _place(start, divided) * (1 - share[:, None]) + _place(end, divided) * share[:, None]
        count[there] += 1
    return total / count


def _crossing(start: Index, end: Index, divided: Partition) -> NDArray[np.float64]:
    """Return where [e] along the lattice edges from `start` to `end` (flat indices) the label changes."""
    labels, distance = divided.labels.ravel(), divided.distance.ravel()
    logits = divided.logits.reshape(len(divided.parts), -1)
    number = np.zeros(256, dtype=np.int64)
    number[list(divided.parts)] = np.arange(len(divided.parts))
    own, other = number[labels[start]], number[labels[end]]
    outer = (labels[start] == 0) | (labels[end] == 0)
    before = np.where(outer, distance[start], logits[own, start] - logits[other, start]).astype(np.float64)
    after = np.where(outer, distance[end], logits[own, end] - logits[other, end]).astype(np.float64)
    # Where a small piece was given away the logits do not change sign: then the wall is in the middle.
    changes = before * after < 0
    share = np.divide(before, before - after, out=np.full(len(before), 0.5), where=changes)
    return np.asarray(share.clip(_NEAR, 1 - _NEAR))


def _place(flat: Index, divided: Partition) -> Points:
    return np.stack(np.unravel_index(flat, divided.labels.shape), axis=-1).astype(np.float64)
