"""Checks of a mesh as its file gives it: perhaps open, in pieces, inside out. Shares are in %.

Thresholds pass what cleaning mends without a trace: each of 29 AMOS livers of a published set (Nguyen et al., MICCAI
2025) has holes (up to 1.4 % of the edges), flipped faces (0.14 %) and faces that pass through others (1.6 %), and is
remade to within about 0.03 mm on average.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.check import Check
from shapegen.curation.raw import Evidence
from shapegen.geometry.surface import Surface, edge_use, extents, face_components, face_normals, sample_points

SAMPLED = 2000
"""Places on the surface at which it is asked what lies on either side: a share of 1 % is then known to 0.2 %."""


def open_edges(evidence: Evidence) -> dict[str, float]:
    """Return the share of edges with one face only, and the number of holes (connected loops of such edges; open rims
    of loose sheets count too) and their length in mm."""
    surface = mesh_of(evidence)
    edges, rim, _, holes = rims(surface)
    lengths = np.linalg.norm(surface.vertices[rim[:, 0]] - surface.vertices[rim[:, 1]], axis=1)
    return {
        "open-edges": percent(len(rim), edges),
        "open-edges-holes": float(holes),
        "open-edges-mm": float(lengths.sum()),
    }


@lru_cache(maxsize=1)
def rims(surface: Surface) -> tuple[int, NDArray[np.int64], NDArray[np.int32], int]:
    """Return the number of edges, those with one face only [e, 2], the hole [e] that each bounds, and how many."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges, count, _ = edge_use(surface)
    rim = edges[count == 1]
    _, ends = np.unique(rim, return_inverse=True)
    first, second = ends.reshape(-1, 2).T
    size = int(ends.max(initial=-1)) + 1
    if not size:
        return len(edges), rim, np.zeros(0, dtype=np.int32), 0
    graph = coo_matrix((np.ones(len(rim), dtype=np.int8), (first, second)), shape=(size, size))
    holes, labels = connected_components(graph, directed=False)
    return len(edges), rim, labels[first], int(holes)


def non_manifold(evidence: Evidence) -> dict[str, float]:
    """Return the share of edges with more than two faces."""
    count = edge_use(mesh_of(evidence))[1]
    return {"non-manifold": percent(int((count > 2).sum()), len(count))}


def flipped(evidence: Evidence) -> dict[str, float]:
    """Return the share of edges with two faces where these disagree on which side is outside.

    A patch of flipped faces shows along its border; a surface that is inside out as a whole does not."""
    _, count, balance = edge_use(mesh_of(evidence))
    return {"flipped": percent(int(((count == 2) & (balance != 0)).sum()), int((count == 2).sum()))}


def doubled_faces(evidence: Evidence) -> dict[str, float]:
    """Return the share of faces whose three vertices another face has too, in whatever order."""
    faces = np.sort(mesh_of(evidence).faces, axis=1)
    _, first, count = np.unique(faces, axis=0, return_inverse=True, return_counts=True)
    return {"doubled-faces": percent(int((count[first.ravel()] > 1).sum()), len(faces))}


def internal_faces(evidence: Evidence) -> dict[str, float]:
    """Return the share of the area that has the organ on both sides: walls within it, and parts that overlap.

    Winding numbers w slightly off the surface on either side (Jacobson et al., ACM Trans. Graph. 2013) are 1 and 0 at
    an outer face, 3/2 and 1/2 at a sheet within. Hence a face is internal where their mean exceeds 3/4; and the lower
    one 1/4, which it does not where an outer face is only doubled (2 and 0). Known to 0.2 % or so: at 2000 places.
    """
    from shapegen.geometry.sdf import winding_number

    if not face_normals(mesh_of(evidence))[1].any():
        return {"internal-faces": 0.0}
    surface = oriented(evidence)
    points, normals = sample_points(surface, SAMPLED, np.random.default_rng(0))
    # Far enough for rounding, nearer than the other side of anything that has a volume.
    step = 2e-4 * float(extents(surface).max()) * normals
    sides = winding_number(surface, np.concatenate([points + step, points - step])).reshape(2, -1)
    internal = (sides.mean(axis=0) > 0.75) & (sides.min(axis=0) > 0.25)
    return {"internal-faces": percent(int(internal.sum()), SAMPLED)}


def loose_shells(evidence: Evidence) -> dict[str, float]:
    """Return the share of the area that is not in the largest component (faces that share a vertex), and the number of
    components. Areas, since pieces that are open have no volume."""
    surface = mesh_of(evidence)
    sizes = np.bincount(face_components(surface), face_normals(surface)[1])
    return {
        "loose-shells": 100 * float(1 - sizes.max() / max(sizes.sum(), 1e-300)),
        "loose-shells-components": float(len(sizes)),
    }


@lru_cache(maxsize=1)
def oriented(evidence: Evidence) -> Surface:
    """Return the mesh as read, its faces turned so that it is a consistent surface as far as it can be one."""
    from shapegen.data.repair import consistent

    return consistent(mesh_of(evidence))


def mesh_of(evidence: Evidence) -> Surface:
    """Return the mesh as read, which is there (`Check.applies`)."""
    assert evidence.raw.surface is not None
    return evidence.raw.surface


def percent(part: int, whole: int) -> float:
    """Return 100 part / whole; 0 of nothing."""
    return 100 * part / max(whole, 1)


CHECKS = (
    Check(
        name="open-edges",
        summary="holes in the mesh",
        on="mesh",
        verdict="require_edit",
        threshold=0.0,
        unit="%",
        measure=open_edges,
        text=lambda m: (
            f"{m['open-edges']:.2g} % of its edges have one face only: {m['open-edges-holes']:.0f} holes, "
            f"{m['open-edges-mm']:.0f} mm around them"
        ),
        mended=True,
    ),
    Check(
        name="non-manifold",
        summary="edges at which more than two faces meet",
        on="mesh",
        verdict="require_edit",
        threshold=0.0,
        unit="%",
        measure=non_manifold,
        text=lambda m: f"at {m['non-manifold']:.2g} % of its edges more than two faces meet",
        mended=True,
    ),
    Check(
        name="flipped",
        summary="faces that are turned the wrong way",
        on="mesh",
        verdict="require_edit",
        threshold=0.0,
        unit="%",
        measure=flipped,
        text=lambda m: f"at {m['flipped']:.2g} % of its edges the two faces disagree on which side is outside",
        mended=True,
    ),
    Check(
        name="doubled-faces",
        summary="faces that are there twice",
        on="mesh",
        verdict="require_edit",
        threshold=0.0,
        unit="%",
        measure=doubled_faces,
        text=lambda m: f"{m['doubled-faces']:.2g} % of its faces are there twice",
        mended=True,
    ),
    Check(
        name="internal-faces",
        summary="walls within the organ, and parts that overlap",
        on="mesh",
        verdict="require_edit",
        threshold=0.5,
        unit="%",
        measure=internal_faces,
        text=lambda m: f"{m['internal-faces']:.2g} % of its surface has the organ on both sides",
        mended=True,
    ),
    Check(
        name="loose-shells",
        summary="loose pieces beside the organ",
        on="mesh",
        verdict="require_edit",
        threshold=0.5,
        unit="%",
        measure=loose_shells,
        text=lambda m: (
            f"{m['loose-shells']:.2g} % of its surface lies in {m['loose-shells-components'] - 1:.0f} loose pieces"
        ),
        mended=True,
    ),
)
