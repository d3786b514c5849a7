"""The parts' share of the stage `sample`: divide each drawn shape, and write the parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.parts.export import write_parts
from shapegen.parts.learn import FACTS, FILE, FOLDER, latent_rows
from shapegen.parts.model import PartModel
from shapegen.parts.partition import divide
from shapegen.store import derived_seed, read_arrays, read_json

if TYPE_CHECKING:
    from shapegen.diffusion.latents import LatentLayout
    from shapegen.generator import Sample
    from shapegen.run import Run


@dataclass(frozen=True, slots=True, eq=False)
class PartDrawer:
    """What dividing drawn shapes needs.

    Args:
        model: of the parts.
        names: by label.
        layout: of the latents.
        spacing: of the label maps and of the lattice that meshes are made on, mm.
    """

    model: PartModel
    names: Mapping[int, str]
    layout: LatentLayout
    spacing: float

    def write(self, out: Path, name: str, sample: Sample, *, seed: int, index: int) -> dict[str, Any]:
        """Draw the parts of one sample and write them to `out/parts/`; they depend on the sample and (seed, index).

        Returns:
            {"mesh", "labels": files relative to `out`, "volume_ml": by part, "moved": small pieces that were given to
            their neighbours}; nothing for a sample without a surface, or with one that is smaller than the spacing.
        """
        if sample.surface is None:
            return {}
        latent = latent_rows(self.layout, sample.code[None], np.array([sample.scale_mm]))[0]
        code = self.model.draw(latent, seed=derived_seed(seed, "parts", index))
        divided = divide(
            sample.surface,
            self.model.fields(code),
            tuple(self.model.parts.tolist()),
            scale=sample.scale_mm,
            spacing=self.spacing,
        )
        if divided is None:
            return {}
        files = write_parts(out / "parts", name, divided, self.names)
        counts = np.bincount(divided.labels.ravel(), minlength=256)
        volumes = {self.names[part]: float(counts[part] * self.spacing**3 / 1000) for part in divided.parts}
        return {**{key: f"parts/{file}" for key, file in files.items()}, "volume_ml": volumes, "moved": divided.moved}


def part_drawer(run: Run, layout: LatentLayout) -> PartDrawer | None:
    """Return what divides a run's samples; None where it has not learned parts."""
    folder = run.stage("train") / FOLDER
    if not (folder / FACTS).exists():
        return None
    return PartDrawer(*read_model(run.stage("train")), layout, run.config.parts.spacing_mm)


def read_model(train: Path) -> tuple[PartModel, dict[int, str]]:
    """Return the model of parts and their names from the folder of the stage `train`.

    Raises:
        FileNotFoundError, CorruptFileError: it is not there, or damaged.
    """
    names = read_json(train / FOLDER / FACTS)["names"]
    model = PartModel.from_state(read_arrays(train / FOLDER / FILE))
    return model, {int(part): str(name) for part, name in names.items()}
