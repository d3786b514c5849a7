"""Checks of the outline of an organ's voxels, a mesh's made of its cleaned surface: frayed, bored, bridged, needles."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.balls import closed, grown, largest, opened, tunnels_through
from shapegen.curation.check import Check
from shapegen.curation.raw import Evidence
from shapegen.data.pieces import pieces

RAGGED_MM = 4.0
"""Radius of the ball of the opening and closing: an organ's own edges are rounder, fissures and notches narrower."""
NEEDLE_MM = 5.0
"""How far a part must stick out to be looked at as a needle."""
_GRID_MM = 2.0
MESH_GRID_MM = 1.5
"""Edge of the voxels of which a mesh's needles are made: at 2 mm those of 4 mm radius lose a third of their length."""


def wide_tunnels(evidence: Evidence) -> dict[str, float]:
    """Return the number of tunnels that are left where everything narrower than 8 mm is filled: bored through the
    organ, or under a bridge to another part of it."""
    return {"wide-tunnels": float(tunnels_through(largest(_filled(evidence))[0]))}


def needles(evidence: Evidence) -> dict[str, float]:
    """Return how needle-like the most needle-like of the parts is that are thinner than 8 mm: see `_sticking_out`."""
    return {"needles": _thin_parts(evidence)[1]}


def mesh_needles(evidence: Evidence) -> dict[str, float]:
    """Return the same of the surface that cleaning made of a mesh: of coarse faces, or after the steps of thick slices
    were smoothed, a needle is too blunt for `spikes`, which looks at normals."""
    from shapegen.data.grid import inside_grid

    assert evidence.clean is not None  # `Check.applies`
    spacing = np.full(3, MESH_GRID_MM)
    inside = largest(inside_grid(evidence.clean, MESH_GRID_MM))[0]
    inside = np.pad(inside, int(np.ceil(RAGGED_MM / MESH_GRID_MM)) + 1)
    body = opened(inside, RAGGED_MM, spacing)
    reach, slender = _sticking_out(inside & ~body, body, spacing)
    return {"mesh-needles": slender, "mesh-needles-reach-mm": reach}


@lru_cache(maxsize=1)
def _thin_parts(evidence: Evidence) -> tuple[float, float]:
    (inside, spacing), body = lattice(evidence), _opened(evidence)
    return _sticking_out(inside & ~body, body, spacing)


@lru_cache(maxsize=1)
def _opened(evidence: Evidence) -> NDArray[np.bool_]:
    inside, spacing = lattice(evidence)
    return opened(inside, RAGGED_MM, spacing)


@lru_cache(maxsize=1)
def _filled(evidence: Evidence) -> NDArray[np.bool_]:
    inside, spacing = lattice(evidence)
    return closed(inside, RAGGED_MM, spacing)


@lru_cache(maxsize=2)
def lattice(evidence: Evidence, *, margin_mm: float = RAGGED_MM) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return the largest component in voxels of about `_GRID_MM`, with an empty margin that is wider than said, and the
    voxels' sides in mm. Loose pieces are another check's."""
    mask = evidence.raw.mask
    assert mask is not None  # `Check.applies`
    every = np.maximum(1, np.rint(_GRID_MM / mask.spacing)).astype(int)
    spacing = np.asarray(mask.spacing * every)
    pad = 4 + np.ceil(margin_mm / spacing).astype(int)
    inside = largest(mask.inside[:: every[0], :: every[1], :: every[2]])[0]
    return np.pad(inside, [(n, n) for n in pad]), spacing


def ragged(evidence: Evidence) -> dict[str, float]:
    """Return which share of the organ's volume, in %, is thinner than 8 mm (an opening by a ball removes it) or a gap
    that is narrower (a closing fills it), each also by itself; how far thin parts reach away from the rest and gaps
    into it, mm; and how many tunnels the opening leaves."""
    inside, spacing = lattice(evidence)
    body, filled = _opened(evidence), _filled(evidence)
    total = float(inside.sum())
    thin, gaps = 100 * float((inside & ~body).sum()) / total, 100 * float((filled & ~inside).sum()) / total
    return {
        "ragged": thin + gaps,
        "ragged-thin": thin,
        "ragged-gaps": gaps,
        "ragged-reach-mm": _thin_parts(evidence)[0],
        "ragged-depth-mm": _sticking_out(filled & ~inside, ~filled, spacing)[0],
        "ragged-tunnels-opened": float(tunnels_through(largest(body)[0])),
    }


def _sticking_out(
    parts: NDArray[np.bool_], body: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> tuple[float, float]:
    """Return how far, in mm, the farthest of some voxels is from a body beside which they lie, and how needle-like the
    most needle-like of their connected parts is; 0 where one is empty.

    That is reach^3 / volume of those that reach farther than `NEEDLE_MM`: 3 / pi (length / radius)^2 of a cone, and
    height^2 / (length x thickness), which is less than 1, of a sharp edge.
    """
    from scipy.spatial import cKDTree

    # Of the body a shell is enough.
    shell = body & grown(parts, 1.01 * float(spacing.max()), spacing)
    if not shell.any():
        return 0.0, 0.0
    places = np.argwhere(parts)
    away = cKDTree(np.argwhere(shell) * spacing).query(places * spacing)[0]
    found = pieces(parts, diagonal=True)
    reach = np.zeros(len(found))
    np.maximum.at(reach, found.of_voxels(), away)
    slender = np.where(reach > NEEDLE_MM, reach**3 / (found.sizes * np.prod(spacing)), 0)
    return float(away.max()), float(slender.max())


CHECKS = (
    Check(
        name="wide-tunnels",
        summary="wide holes through the organ, or bridges",
        on="mask",
        verdict="require_edit",
        threshold=2,
        unit="",
        measure=wide_tunnels,
        text=lambda m: f"{m['wide-tunnels']:.0f} tunnels wider than {2 * RAGGED_MM:g} mm lead through it",
    ),
    Check(
        name="needles",
        summary="thin needles that stick out",
        on="mask",
        verdict="require_edit",
        threshold=6.0,
        unit="",
        measure=needles,
        text=lambda m: f"a part thinner than {2 * RAGGED_MM:g} mm sticks out like a needle ({m['needles']:.0f})",
    ),
    Check(
        name="mesh-needles",
        summary="thin needles that stick out of a cleaned mesh",
        on="repair",
        verdict="require_edit",
        threshold=4.0,
        unit="",
        measure=mesh_needles,
        text=lambda m: f"a part thinner than {2 * RAGGED_MM:g} mm sticks out like a needle ({m['mesh-needles']:.0f})",
    ),
    Check(
        name="ragged",
        summary="frayed, or with bridges, spikes and gaps",
        on="mask",
        verdict="require_edit",
        threshold=6.0,
        unit="%",
        measure=ragged,
        text=lambda m: (
            f"{m['ragged-thin']:.1f} % of it is thinner than {2 * RAGGED_MM:g} mm, "
            f"gaps as narrow add {m['ragged-gaps']:.1f} %"
        ),
    ),
)
