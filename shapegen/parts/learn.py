"""The parts' share of the stage `train`: read them, and learn how they go with the shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.data.placement import Placement
from shapegen.data.population import Population, Shape
from shapegen.errors import ConfigError, NoUsableDataError, UnusableItemError
from shapegen.parallel import each, worker_count
from shapegen.parts.fields import band_of, part_fields
from shapegen.parts.fitting import fit_model
from shapegen.parts.labels import Labels, canonical_labels
from shapegen.protocols import HasParts, Item
from shapegen.store import is_kept, read_arrays, read_tensors, sha256_json, write_arrays, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from shapegen.diffusion.latents import LatentLayout
    from shapegen.run import Run

FOLDER = "parts"
"""In the stage's folder; holds `FILE`, `FACTS` and, for each shape that has parts, `labels/<shape>`."""
FILE, FACTS = "model.safetensors", "parts.json"
FEWEST = 4
"""Training shapes with parts, without which nothing can be learned of them."""
LISTED = 12


@dataclass(frozen=True, slots=True)
class _Task:
    organ: HasParts
    item: Item
    placement: Placement
    target: Path


def learn_parts(run: Run, folder: Path, layout: LatentLayout) -> None:
    """Write `parts/` into the stage's folder, if `parts.use` is set.

    Raises:
        ConfigError: the organ has no parts.
        NoUsableDataError: fewer than four training shapes have their parts labelled, or the data is no longer there.
    """
    if not run.config.parts.use:
        return
    organ = run.build("organ", run.config.organ)
    if not (isinstance(organ, HasParts) and len(organ.parts) > 1):
        raise ConfigError(f"parts.use: organ '{run.config.organ.name}' says nothing of parts; set parts.use=false")
    population = Population.load(run.require("prepare", needed_by="train"))
    skipped = _read_all(run, organ, population, folder / FOLDER / "labels")
    train = [shape for shape in population.of("train") if shape.id not in skipped]
    if len(train) < FEWEST:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in list(skipped.items())[:LISTED])
        raise NoUsableDataError(
            f"parts.use: {len(train)} training shapes have labelled parts, at least {FEWEST} are needed; give data "
            f"whose label maps have them, or set parts.use=false{reasons}"
        )
    if skipped:
        run.note(
            f"parts: {len(skipped)} of {len(population)} shapes are not learned from: "
            + "; ".join(f"{name} ({reason})" for name, reason in list(skipped.items())[:LISTED])
        )
    codes = read_tensors(run.require("fit", needed_by="train") / "codes.safetensors")["codes"]
    number = {shape.id: row for row, shape in enumerate(population)}
    latents = latent_rows(layout, codes, np.array([shape.placement.scale for shape in population]))
    parts = sorted(organ.parts)
    validation = [shape for shape in population.of("validation") if shape.id not in skipped]
    lattices = [read_lattice(folder, shape) for shape in (*train, *validation)]
    logits = np.stack([part_fields(labels, parts) for labels in lattices])
    rows, lattices = [number[shape.id] for shape in (*train, *validation)], lattices[: len(train)]
    model, facts = fit_model(
        latents[rows[: len(train)]],
        logits[: len(train)],
        parts=parts,
        band=band_of(lattices),
        groups=[shape.group for shape in train],
        axes=run.config.parts.axes,
        held_out=(latents[rows[len(train) :]], logits[len(train) :]),
    )
    write_arrays(folder / FOLDER / FILE, model.state())
    names = {str(part): organ.parts[part] for part in parts}
    write_json(folder / FOLDER / FACTS, {"names": names, "skipped": skipped, "training_shapes": len(train), **facts})
    run.note(
        f"parts: learned from {len(train)} shapes; of shapes left out, the shape tells "
        f"{max(0.0, facts['explained_by_shape']):.0%} of how their parts vary"
    )


def latent_rows(layout: LatentLayout, codes: Tensor, scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return codes [n, tokens, width] and scales [n] (mm for one canonical unit) as rows [n, d], not standardised."""
    import torch

    from shapegen.diffusion.latents import assemble

    x, mask = assemble(layout, codes, torch.from_numpy(np.log(scales)).to(codes.dtype))
    return x[:, mask].double().numpy()


def read_lattice(train: Path, shape: Shape) -> Labels:
    """Return a shape's parts on the canonical lattice; FileNotFoundError where it has none. `train`: the stage's
    folder."""
    return np.asarray(read_arrays(train / FOLDER / "labels" / shape.file_name)["labels"], dtype=np.uint8)


def _read_all(run: Run, organ: HasParts, population: Population, folder: Path) -> dict[str, str]:
    """Write every shape's lattice that is not there; return why others have none, by id."""
    items = {item.id: item for item in run.scan()[0]}
    inputs: Mapping[str, Any] = run.manifest.get("inputs", {})
    skipped, tasks, shapes = {}, [], []
    for shape in population:
        item = items.get(shape.id)
        if item is None or item.options.get("content", "") != inputs.get(shape.id, {}).get("sha256", ""):
            skipped[shape.id] = "its file is gone or has changed since `prepare`"
            continue
        tasks.append(_Task(organ, item, shape.placement, folder / shape.file_name))
        shapes.append(shape.id)
    with run.progress("reading parts", len(tasks)) as advance:
        for outcome in each(_read_one, tasks, workers=worker_count(run.config.prepare.workers, len(tasks))):
            advance(1)
            if outcome.reason:
                skipped[shapes[outcome.index]] = outcome.reason
    return dict(sorted(skipped.items()))


def _read_one(task: _Task) -> None:
    key = sha256_json([task.item.fingerprint, task.placement.to_json(), sorted(task.organ.parts)])
    if is_kept(task.target, key):
        return
    found = task.organ.part_labels(task.item)
    labels = None if found is None else canonical_labels(found, task.placement, task.organ.parts)
    if labels is None or not labels.any():
        raise UnusableItemError("its parts are not labelled")
    write_arrays(task.target, {"labels": labels}, {"key": key})
