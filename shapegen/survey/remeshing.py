"""The one way on which every shape of a study goes, so that its mesh does not tell where it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shapegen.errors import UnusableItemError
from shapegen.geometry.surface import Surface, is_closed, is_oriented, largest_component, volume_centroid

SPACING_MM = 2.0
"""Of the lattice of signed distances through which every shape goes."""
STEP_MM = 1 / 64
"""Of the coordinates that a browser gets, the same for all: 16 bits reach to 512 mm on either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remeshing:
    """How shapes are made alike.

    Args:
        faces: triangles of every mesh.
        smoothing: standard deviation in mm of the Gaussian on the signed distances.
    """

    faces: int = 10_000
    smoothing: float = 3.0


def remeshed(surface: Surface, how: Remeshing) -> Surface:
    """Return a shape as a study shows it: sampled on a lattice of signed distances, smoothed there, meshed by marching
    cubes, reduced to its largest piece and to the wanted number of faces, and centred.

    Faces are reduced by collapsing the shortest edge again and again. An error measure such as quadrics would put more
    faces where a shape is finely curved, and sizes of faces would tell real shapes from smoother ones.

    Args:
        surface: closed, outward oriented, mm.
        how: the same for all shapes of a study.

    Returns:
        Closed, with exactly `how.faces` faces, in mm about the centroid of its volume.

    Raises:
        UnusableItemError: the shape is smaller than the smoothing, or cannot be brought to that number of faces.
    """
    import igl

    from shapegen.metrics.smoothed import distance_lattice

    try:
        lattice = distance_lattice(surface, spacing=SPACING_MM, margin=SPACING_MM + 3 * how.smoothing)
        level = largest_component(lattice.smoothed(how.smoothing).level())[0]
    except ValueError as error:
        raise UnusableItemError(str(error)) from error
    if len(level.faces) < how.faces:
        raise UnusableItemError(
            f"its surface has {len(level.faces)} faces at {SPACING_MM:g} mm, fewer than the {how.faces} that all get",
            advice="take fewer --faces",
        )
    vertices, faces, _, _ = igl.decimate(level.vertices, level.faces.astype(np.int32), how.faces)
    made = Surface(np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64))
    if len(made.faces) != how.faces or not (is_closed(made) and is_oriented(made)):
        raise UnusableItemError(f"its mesh could not be brought to {how.faces} faces; it is left out")
    return made.moved(made.vertices - volume_centroid(made))


def pack(surface: Surface, rng: np.random.Generator) -> bytes:
    """Return the bytes that a browser gets: triangles [f, 3, 3] as little-endian int16 in steps of 1/64 mm.

    There are no vertices to count (their number tells of handles) and no header, and the faces come in random order,
    each beginning at a random corner: 18 bytes for each face, whatever the shape.

    Raises:
        UnusableItemError: the shape reaches further than 512 mm from its centre.
    """
    steps = np.rint(surface.triangles / STEP_MM)
    if np.abs(steps).max() > np.iinfo(np.int16).max:
        raise UnusableItemError("it is more than a metre across", advice="check that its data is in mm")
    first = rng.integers(3, size=len(steps))
    turned = steps[np.arange(len(steps))[:, None], (first[:, None] + np.arange(3)) % 3]
    return turned[rng.permutation(len(turned))].astype("<i2").tobytes()


def unpack(data: bytes) -> np.ndarray:
    """Return the triangles [f, 3, 3] in mm of what `pack` made."""
    return np.frombuffer(data, "<i2").reshape(-1, 3, 3) * STEP_MM
