"""One scene: the organs of one patient, placed, moved apart and divided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.data.placement import Placement
from shapegen.errors import NoUsableDataError
from shapegen.geometry.surface import Points, Surface, component_count, signed_volume
from shapegen.scenes.apart import push_apart
from shapegen.scenes.draw import draw_organs
from shapegen.scenes.joint import Joint
from shapegen.scenes.members import Member
from shapegen.scenes.resolve import Resolved, common_grid, filled, overlap_mm3, resolve

if TYPE_CHECKING:
    from shapegen.generator import Sample

SPACE = "RAS, mm, the patient's axes; origin at the canonical centre of the first organ"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """What was drawn and what became of it. Of organs whose sample is empty there is nothing.

    Args:
        names: of the organs that have a surface, in the order of the labels 1, 2, ...
        empty: names of those that have none.
        drawn: their surfaces as drawn, mm, RAS.
        placements: of the canonical cube, before they were moved.
        shifts: [m, 3], mm: how far each was moved.
        overlap_mm3: of the organs as drawn, moved, and divided.
        resolved: the scene.
    """

    names: tuple[str, ...]
    empty: tuple[str, ...]
    drawn: tuple[Surface, ...]
    placements: tuple[Placement, ...]
    shifts: Points
    overlap_mm3: dict[str, float]
    resolved: Resolved

    def organs(self) -> dict[str, Surface]:
        """Return the final surfaces by name, mm, RAS."""
        return {
            name: surface
            for name, surface in zip(self.names, self.resolved.surfaces, strict=True)
            if surface is not None
        }

    def to_json(self) -> dict[str, Any]:
        """Return what there is to say in numbers."""
        rows = []
        for number, (name, surface) in enumerate(zip(self.names, self.resolved.surfaces, strict=True)):
            place, shift = self.placements[number], self.shifts[number]
            facts: dict[str, Any] = {"volume_ml": 0.0, "components": 0}
            if surface is not None:
                facts = {"volume_ml": signed_volume(surface) / 1000, "components": component_count(surface)}
            rows.append(
                {
                    "name": name,
                    "label": number + 1,
                    **facts,
                    "drawn_ml": signed_volume(self.drawn[number]) / 1000,
                    "placement": Placement(place.scale, place.centre + shift, place.rotation).to_json(),
                    "shift_mm": shift.tolist(),
                    "touches_another": self.resolved.touched[number],
                }
            )
        return {"space": SPACE, "organs": rows, "empty": list(self.empty), "overlap_mm3": self.overlap_mm3}


def draw_scenes(
    members: Sequence[Member],
    joint: Joint,
    count: int,
    *,
    seed: int,
    spacing: float,
    resolution: int | None = None,
    push: bool = True,
) -> Iterator[Scene]:
    """Draw scenes one after the other; scene i depends on (seed, i) alone.

    Args:
        members: the organs, the reference first.
        joint: of them.
        count: scenes.
        seed: of everything random.
        spacing: of the lattice on which they are divided, mm.
        resolution: cells of the meshing grid along each axis; None: as each run's samples.
        push: move organs that overlap apart before they are divided.
    """
    drawn = draw_organs(members, joint, count, seed=seed)
    meshed = [
        member.generator.mesh(
            each.codes, each.scales, resolution=resolution or member.run.config.sample.resolution, seed=each.seed
        )
        for member, each in zip(members, drawn, strict=True)
    ]
    spread = covariance_of_places(joint)
    for number, samples in enumerate(zip(*meshed, strict=True)):
        places = [each.placements[number] for each in drawn]
        yield make_scene([member.name for member in members], samples, places, spread if push else None, spacing)


def make_scene(
    names: Sequence[str],
    samples: Sequence[Sample],
    placements: Sequence[Placement],
    spread: Points | None,
    spacing: float,
) -> Scene:
    """Place, move and divide the organs of one scene.

    Args:
        names, samples, placements: of each organ, the reference first.
        spread: [3 (m - 1), 3 (m - 1)], mm^2: covariance of the places; None: nothing is moved.
        spacing: mm.

    Raises:
        NoUsableDataError: every sample is empty.
    """
    there = [number for number, sample in enumerate(samples) if sample.surface is not None]
    if not there:
        raise NoUsableDataError(f"all organs drawn for a scene ({', '.join(names)}) are empty; train the runs longer")
    places = [placements[number] for number in there]
    surfaces = [
        at_place(samples[number].surface, place)  # type: ignore[arg-type]  # the empty ones are left out
        for number, place in zip(there, places, strict=True)
    ]
    shifts = np.zeros((len(there), 3))
    grid = common_grid(surfaces, spacing)
    inside = filled(surfaces, grid)
    overlap = {"drawn": overlap_mm3(inside, grid)}
    moved = surfaces
    if spread is not None and overlap["drawn"] > 0:
        shifts = push_apart(surfaces, _of(spread, there))
        moved = [surface.moved(surface.vertices + shift) for surface, shift in zip(surfaces, shifts, strict=True)]
        grid = common_grid(moved, spacing)
        inside = filled(moved, grid)
    overlap["moved"] = overlap_mm3(inside, grid)
    resolved = resolve(moved, inside, grid)
    overlap["divided"] = overlap_mm3(filled([each for each in resolved.surfaces if each is not None], grid), grid)
    return Scene(
        names=tuple(names[number] for number in there),
        empty=tuple(name for number, name in enumerate(names) if number not in there),
        drawn=tuple(surfaces),
        placements=tuple(places),
        shifts=shifts,
        overlap_mm3=overlap,
        resolved=resolved,
    )


def at_place(surface: Surface, place: Placement) -> Surface:
    """Take a sample's surface, mm about the canonical centre, to its place."""
    return Placement(1.0, place.centre, place.rotation).to_mm(surface)


def covariance_of_places(joint: Joint) -> Points:
    """Return the covariance [3 (m - 1), 3 (m - 1)] in mm^2 of the centres of all but the reference, given its shape."""
    known = joint.blocks.known
    factor = joint.given(joint.mean[None, :known])[1]
    centres = [np.arange(joint.mean.size)[joint.blocks.centre(organ)] for organ in range(1, len(joint.blocks.axes))]
    rows = factor[np.concatenate(centres) - known]
    return np.asarray(rows @ rows.T)


def _of(spread: Points, there: Sequence[int]) -> Points:
    """Return the covariance of the organs that are there, but for the first of them."""
    chosen = np.concatenate([3 * (organ - 1) + np.arange(3) for organ in there[1:]]) if there[1:] else np.arange(0)
    return spread[np.ix_(chosen, chosen)]
