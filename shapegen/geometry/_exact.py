"""Exact tests on pairs of triangles, in integers: no rounding, no tolerance. For the few pairs that a filter leaves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shapegen.geometry.surface import Points

Point = tuple[int, int, int]
Triangle = tuple[Point, Point, Point]
_EDGES = ((0, 1), (1, 2), (2, 0))


def integers(points: Points) -> list[Point]:
    """Scale points [n, 3] by one power of two that makes every coordinate an integer, without rounding."""
    ratios = [[float(x).as_integer_ratio() for x in point] for point in points]
    common = max(below for row in ratios for _, below in row)
    return [tuple(above * (common // below) for above, below in row) for row in ratios]  # type: ignore[misc]


def triangles_meet(first: Triangle, second: Triangle) -> bool:
    """Tell whether two triangles with area, which share no corner by name, have a point in common; touching counts."""
    sides = [_side(first, point) for point in second]
    if min(sides) > 0 or max(sides) < 0:
        return False
    if not any(sides):
        axis = _widest(first)
        flat, other = _flat(first, axis), _flat(second, axis)
        crossing = any(_segment_meets_flat(flat[i], flat[j], other) for i, j in _EDGES)
        return crossing or _holds(flat, other[0])
    return any(
        _segment_meets(first[i], first[j], second) or _segment_meets(second[i], second[j], first) for i, j in _EDGES
    )


def corner_neighbours_meet(first: Triangle, second: Triangle) -> bool:
    """Tell whether two triangles with area, whose corners 0 are one vertex, meet anywhere else.

    They do if and only if the edge opposite to the vertex of one of them touches the other.
    """
    if not any(_side(first, point) for point in second[1:]):
        axis = _widest(first)
        flat, other = _flat(first, axis), _flat(second, axis)
        return _segment_meets_flat(flat[1], flat[2], other) or _segment_meets_flat(other[1], other[2], flat)
    return _segment_meets(first[1], first[2], second) or _segment_meets(second[1], second[2], first)


def edge_neighbours_overlap(first: Triangle, second: Triangle) -> bool:
    """Tell whether two triangles with area, whose corners 0 and 1 are the same, are folded flat onto each other."""
    if _side(first, second[2]):
        return False
    axis = _widest(first)
    (a, b, c), (_, _, d) = _flat(first, axis), _flat(second, axis)
    return _turn(a, b, c) * _turn(a, b, d) > 0


def has_area(triangle: Triangle) -> bool:
    """Tell whether the corners are not on one line."""
    return any(_normal(triangle))


def _normal(triangle: Triangle) -> Point:
    a, b, c = triangle
    u, v = [b[k] - a[k] for k in range(3)], [c[k] - a[k] for k in range(3)]
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]


def _side(triangle: Triangle, point: Point) -> int:
    """Return a number whose sign says on which side of the triangle's plane a point lies."""
    normal, a = _normal(triangle), triangle[0]
    return sum(normal[k] * (point[k] - a[k]) for k in range(3))


def _segment_meets(p: Point, q: Point, triangle: Triangle) -> bool:
    """Tell whether a closed segment that does not lie in the triangle's plane meets the triangle."""
    start, end = _side(triangle, p), _side(triangle, q)
    if start == end == 0 or (start > 0 and end > 0) or (start < 0 and end < 0):
        return False
    turns = [_side((p, q, triangle[i]), triangle[j]) for i, j in _EDGES]
    return min(turns) >= 0 or max(turns) <= 0


def _widest(triangle: Triangle) -> int:
    normal = [abs(x) for x in _normal(triangle)]
    return normal.index(max(normal))


def _flat(triangle: Triangle, axis: int) -> list[tuple[int, int]]:
    return [tuple(x for k, x in enumerate(point) if k != axis) for point in triangle]  # type: ignore[misc]


def _turn(a: Sequence[int], b: Sequence[int], c: Sequence[int]) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _holds(triangle: Sequence[Sequence[int]], point: Sequence[int]) -> bool:
    turns = [_turn(triangle[i], triangle[j], point) for i, j in _EDGES]
    return min(turns) >= 0 or max(turns) <= 0


def _segment_meets_flat(p: Sequence[int], q: Sequence[int], triangle: Sequence[Sequence[int]]) -> bool:
    return _holds(triangle, p) or any(_segments_meet(p, q, triangle[i], triangle[j]) for i, j in _EDGES)


def _segments_meet(p: Sequence[int], q: Sequence[int], r: Sequence[int], s: Sequence[int]) -> bool:
    one, two = np.sign(_turn(p, q, r)), np.sign(_turn(p, q, s))
    three, four = np.sign(_turn(r, s, p)), np.sign(_turn(r, s, q))
    if one == two == three == four == 0:  # on one line
        return all(max(min(p[k], q[k]), min(r[k], s[k])) <= min(max(p[k], q[k]), max(r[k], s[k])) for k in (0, 1))
    return bool(one * two <= 0 and three * four <= 0)
