"""The organs of a scene: what each run has learned, and where its organ lies in every scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.data.placement import Placement
from shapegen.errors import ConfigError

if TYPE_CHECKING:
    from shapegen.data.population import Shape, Split
    from shapegen.generator import Generator
    from shapegen.run import Run

Rows = NDArray[np.float64]

FEWEST_ORGANS = 2
MIRROR = np.diag([-1.0, 1.0, 1.0])
"""Left becomes right, in RAS."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One organ in one scan.

    Args:
        patient: the group.
        split: of its run.
        latent: [d], standardised, without padding: the code's axes, the leading ones first, and last the log scale.
        placement: in the organ's own frame: of a mirrored organ, the mirror image of the patient.
    """

    patient: str
    split: Split
    latent: Rows
    placement: Placement


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Member:
    """One organ of a scene. A run of both sides of an organ gives two, which share its generator.

    Args:
        name: such as `spleen` or `kidney-left`.
        run: which it comes from.
        generator: of the run.
        mirrored: the generator makes its mirror image, as of left kidneys that were learned with right ones.
        scans: by the scan's name, equal for all organs of a scan.
    """

    name: str
    run: Run
    generator: Generator
    mirrored: bool
    scans: Mapping[str, Seen]

    def to_patient(self, placement: Placement) -> Placement:
        """Take a placement from the organ's own frame to the patient's, and back."""
        if not self.mirrored:
            return placement
        return Placement(placement.scale, MIRROR @ placement.centre, placement.rotation @ MIRROR)

    def to_json(self) -> dict[str, Any]:
        """Return where the organ comes from, as plain JSON."""
        from shapegen.basis import result_of

        return {
            "organ": self.run.config.organ.name,
            "run": self.run.folder.name,
            "mirrored": self.mirrored,
            "generator": self.generator.name,
            "seed": self.run.seed,
            "stages": {name: result_of(self.run.stage(name)) for name in ("prepare", "fit", "train")},
        }


def open_members(runs: Sequence[Run]) -> tuple[Member, ...]:
    """Return the organs of trained runs, in the order of the runs; the first is the scene's reference.

    Raises:
        ConfigError: there are fewer than two organs, or one of them twice.
        StageMissingError: a run is not trained.
        RunFolderError: a run's stages do not fit its configuration.
    """
    from shapegen.generator import load_generator
    from shapegen.pipeline import check_upstream
    from shapegen.training_latents import training_latents

    found: list[Member] = []
    for run in runs:
        check_upstream(run, "sample")
        generator = load_generator(run, needed_by="together")
        latents = training_latents(run, generator.space)
        rows = latents.x[:, latents.layout.mask].double().numpy()
        organ = run.catalog.find("organ", run.config.organ.name).name
        sides: Sequence[str] = tuple(getattr(run.build("organ", run.config.organ), "sides", ()))
        pair = len(sides) > 1
        for side in sides if pair else ("",):
            scans = {
                scan_of(shape, side if pair else ""): Seen(
                    patient=shape.group, split=shape.split, latent=row, placement=shape.placement
                )
                for shape, row in zip(latents.population, rows, strict=True)
                if not pair or shape.meta.get("side") == side
            }
            name = f"{organ}-{side}" if pair else organ
            mirrored = pair and side == "left"
            found.append(Member(name=name, run=run, generator=generator, mirrored=mirrored, scans=scans))
    _check(found)
    return tuple(found)


def scan_of(shape: Shape, side: str) -> str:
    """Return the name of the scan that a shape is from: the stem of its file."""
    stem = shape.id.rpartition("/")[2]
    return stem.removesuffix(f"-{side}") if side else stem


def _check(members: Sequence[Member]) -> None:
    if len(members) < FEWEST_ORGANS:
        raise ConfigError(
            f"several organs together need at least {FEWEST_ORGANS} organs, got {len(members)}: give one run folder "
            "for each organ (a run of `kidney` counts as two)"
        )
    names = [member.name for member in members]
    for member in members:
        if names.count(member.name) > 1:
            folders = ", ".join(str(each.run.folder) for each in members if each.name == member.name)
            raise ConfigError(f"a scene has each organ once, '{member.name}' is in {folders}: leave out all but one")
