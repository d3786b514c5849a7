"""The shapes of an evaluation in one bank: real ones, samples, and noisy copies of training shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shapegen.data.placement import Placement
from shapegen.data.population import Shape
from shapegen.evaluation import GenerationSets
from shapegen.evenly import evenly
from shapegen.geometry.surface import Surface
from shapegen.metrics.bank import ShapeBank, ShapeSet
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.run import Run

NOISY = "noisy/"
"""Before the id of a training shape: its noisy copy."""


def build_sets(
    run: Run, folder: Path, training: Sequence[Shape], reference: Sequence[Shape], generated: dict[str, Path]
) -> tuple[GenerationSets, ShapeSet]:
    """Return the three sets, of at most `evaluate.compared` shapes each, and as many noisy copies of training shapes as
    sets that are compared have shapes.

    Args:
        run: for its seed and settings.
        folder: where distances are kept.
        training, reference: real shapes.
        generated: the samples' files by id.
    """
    from shapegen.geometry.export import read_mesh
    from shapegen.metrics.perturbed import smoothly_moved

    most = run.config.evaluate.compared
    training, reference = evenly(training, most), evenly(reference, most)
    generated = {name: generated[name] for name in evenly(list(generated), most)}
    real = {shape.id: shape for shape in (*training, *reference)}
    size = min(len(generated), len(reference), len(training))
    rng = np.random.default_rng(derived_seed(run.seed, "evaluate noisy copies"))
    copied = [training[k].id for k in np.sort(rng.choice(len(training), size=size, replace=False))]

    def aligned_mm(name: str) -> Surface:
        """Read a shape in mm in the population's frame (RAS, aligned): real ones are brought there, samples lie so."""
        if name in generated:
            return read_mesh(generated[name])
        if name.startswith(NOISY):
            noise = np.random.default_rng(derived_seed(run.seed, "evaluate noise", name))
            return smoothly_moved(aligned_mm(name.removeprefix(NOISY)), noise)
        return Placement(real[name].placement.scale).to_mm(real[name].canonical())

    bank = ShapeBank(
        [*real, *generated, *(NOISY + name for name in copied)],
        aligned_mm,
        seed=derived_seed(run.seed, "evaluate points"),
        workers=run.config.threads,
        folder=folder,
        progress=run.progress,
    )
    sets = GenerationSets(
        bank.of(list(generated)),
        bank.of([shape.id for shape in reference]),
        bank.of([shape.id for shape in training]),
        count=run.config.evaluate.points,
        reconstruct=_code_reconstructions(run, reference),
    )
    return sets, bank.of([NOISY + name for name in copied])


def _code_reconstructions(run: Run, shapes: Sequence[Shape]) -> Callable[[str], Surface] | None:
    """Return what reads a shape's reconstruction from its code alone, if `fit` wrote one of every shape."""
    from shapegen.store import read_arrays

    folder = run.require("fit", needed_by="evaluate") / "reconstructions" / "code"
    paths = {shape.id: folder / shape.file_name for shape in shapes}
    if not all(path.exists() for path in paths.values()):
        return None

    def read(name: str) -> Surface:
        arrays = read_arrays(paths[name])
        return Surface(arrays["vertices"].astype(float), arrays["faces"].astype(int))

    return read
