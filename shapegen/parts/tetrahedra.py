"""How a tetrahedron is divided between the labels of its four corners: the cases of marching tetrahedra.

Corners are sorted by label; a case is which of them have equal labels (1: as the one before). Its triangles part two
corners each, and each of their points is the mean of some corners' edge points: two corners name an edge, three a face
with three labels, four the middle. Two labels: one triangle or two. Three: the edge of the walls runs through the two
faces that have all three. Four: all six walls meet in the middle.
"""

from __future__ import annotations

import itertools

Triangle = tuple[tuple[int, int], tuple[tuple[int, ...], ...]]


def _quad(parted: tuple[int, int], *points: tuple[int, ...]) -> list[Triangle]:
    a, b, c, d = points
    return [(parted, (a, b, c)), (parted, (a, c, d))]


def _three(twice: tuple[int, int], one: int, other: int) -> list[Triangle]:
    a, b = twice
    first, second = tuple(sorted((a, one, other))), tuple(sorted((b, one, other)))
    edges = {key: tuple(sorted(key)) for key in ((a, one), (b, one), (a, other), (b, other), (one, other))}
    return [
        ((one, other), (edges[one, other], first, second)),
        *_quad((a, one), edges[a, one], edges[b, one], second, first),
        *_quad((a, other), edges[a, other], edges[b, other], second, first),
    ]


def _four() -> list[Triangle]:
    found = []
    for a, b in itertools.combinations(range(4), 2):
        c, d = (k for k in range(4) if k not in (a, b))
        found += _quad((a, b), (a, b), tuple(sorted((a, b, c))), (0, 1, 2, 3), tuple(sorted((a, b, d))))
    return found


CASES: dict[tuple[int, int, int], list[Triangle]] = {
    (1, 1, 0): [((0, 3), ((0, 3), (1, 3), (2, 3)))],
    (0, 1, 1): [((0, 1), ((0, 1), (0, 2), (0, 3)))],
    (1, 0, 1): _quad((0, 2), (0, 2), (0, 3), (1, 3), (1, 2)),
    (1, 0, 0): _three((0, 1), 2, 3),
    (0, 1, 0): _three((1, 2), 0, 3),
    (0, 0, 1): _three((2, 3), 0, 1),
    (0, 0, 0): _four(),
}
