"""Freeze the generator of a finished run as the one that comes with the organ.

    shapegen run --organ liver --data lits-couinaud --data msd-vessel-couinaud --out runs/livers
    python -m shapegen_organs.make_pretrained runs/livers --out organs/shapegen_organs/pretrained/liver

Writes `generator.safetensors`, `pretrained.json` and the model card `MODEL_CARD.md`. Only runs on data that may be
passed on are taken. About a minute of one core, for the samples with which rounding is measured.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shapegen.data.population import Population
    from shapegen.run import Run

LICENCE = "CC BY-SA 4.0"
SHIPPABLE = {
    "lits-couinaud": "segments: repository xukun-zhang/Couinaud-Segmentation (MIT); "
    "CT: LiTS = Medical Segmentation Decathlon, task 03 (CC BY-SA 4.0)",
    "msd-vessel-couinaud": "masks: the same repository (MIT), which does not say who drew them; "
    "CT: Medical Segmentation Decathlon, task 08 (CC BY-SA 4.0)",
}
"""Sources whose derived works may be passed on, and whom they are owed to."""
TOLERANCE_MM = 0.05
"""Rounding to 16 bits may move no surface by more."""
LARGEST_MB = 20.0
FINETUNE = {"subspace": {"steps": 800, "learning_rate": 5e-4, "code_learning_rate": 1e-2}}
"""What fine-tuning changes in the options of a weight space: it begins where it is nearly right."""
FINETUNE_DIFFUSION = {"steps": 400, "learning_rate": 3e-4}
CHECKED = 10
"""Samples with which that is measured."""


def check_sources(population: Population) -> dict[str, dict[str, int]]:
    """Return for each source how many shapes of it each split holds.

    Raises:
        ConfigError: a shape is of another source than those that may be passed on.
    """
    from shapegen.errors import ConfigError

    counts = Counter((str(shape.meta.get("source")), shape.split) for shape in population)
    foreign = sorted({source for source, _ in counts} - SHIPPABLE.keys())
    if foreign:
        raise ConfigError(
            f"the run learned from {', '.join(foreign)}; a generator that is passed on may only come from "
            f"{' and '.join(SHIPPABLE)}"
        )
    found: dict[str, dict[str, int]] = {}
    for (source, split), count in sorted(counts.items()):
        found.setdefault(source, {})[split] = count
    return found


def difference_mm(run: Run, folder: Path, *, count: int, seed: int = 1) -> float:
    """Return how far a vertex of a frozen generator's samples lies from the run's own sample of that number at most;
    before detail, which is random and would hide what rounding does."""
    from dataclasses import replace

    import igl
    import numpy as np

    from shapegen.generator import load_generator
    from shapegen.pretrained import load_pretrained

    pretrained = load_pretrained(folder)
    both = load_generator(run, needed_by="freezing"), pretrained.generator(pretrained.run(run.catalog))
    generators = [replace(each, detail=None) for each in both]
    resolution = int(pretrained.facts["config"]["sample"]["resolution"])
    worst = 0.0
    own, frozen = (each.mesh(*each.codes(count, seed=seed), resolution=resolution) for each in generators)
    for one, other in zip(own, frozen, strict=True):
        if one.surface is None or other.surface is None:
            worst = max(worst, 0.0 if one.surface is other.surface else float("inf"))
            continue
        surface = np.asfortranarray(one.surface.vertices), np.asfortranarray(one.surface.faces)
        squared = igl.point_mesh_squared_distance(np.asfortranarray(other.surface.vertices), *surface)[0]
        worst = max(worst, float(np.sqrt(squared.max())))
    return worst


def make(run: Run, out: Path) -> dict[str, Any]:
    """Freeze a run's generator, in 16 bits where that changes nothing that can be seen, and write its card.

    Raises:
        ConfigError: the run learned from data that may not be passed on, is not evaluated, or gives too large a file.
        StageMissingError: a stage is not finished.
    """
    from shapegen.data.population import Population
    from shapegen.errors import ConfigError
    from shapegen.pipeline import check_upstream
    from shapegen.pretrained import FACTS, TENSORS, freeze
    from shapegen.store import read_json, write_bytes, write_json

    if run.config.organ.options.get("lost_spacing") == "believe":
        raise ConfigError("the run believed files that lost their spacing; make it with organ.lost_spacing 'leave out'")
    population = Population.load(run.require("prepare", needed_by="freezing"))
    sources = check_sources(population)
    check_upstream(run, "evaluate", itself=True)
    metrics = read_json(run.stage("evaluate") / "metrics.json")
    facts: dict[str, Any] = {
        "made_by": "python -m shapegen_organs.make_pretrained",
        "licence": LICENCE,
        "sources": {name: {"credit": SHIPPABLE[name], "shapes": counts} for name, counts in sources.items()},
        "training": read_json(run.stage("train") / "train.json").get("training_shapes"),
    }
    facts["finetune"] = {
        "weight_space": FINETUNE.get(run.config.weight_space.name, {}),
        "diffusion": FINETUNE_DIFFUSION,
    }
    result = freeze(run, out, half=True, facts=facts)
    moved = difference_mm(run, out, count=CHECKED)
    if not moved <= TOLERANCE_MM:
        result, moved = freeze(run, out, half=False, facts=facts), 0.0
    result["rounding_mm"] = round(moved, 4)
    write_json(out / FACTS, result)
    size = (out / TENSORS).stat().st_size / 1e6
    if size > LARGEST_MB:
        raise ConfigError(
            f"{out / TENSORS} has {size:.1f} MB, at most {LARGEST_MB:g} are shipped; choose a smaller model"
        )
    write_bytes(out / "MODEL_CARD.md", card(result, metrics, size_mb=size).encode())
    return result


def card(facts: Mapping[str, Any], metrics: Mapping[str, Any], *, size_mb: float) -> str:
    """Return the model card as Markdown.

    Args:
        facts: the content of `pretrained.json`.
        metrics: the content of the run's `evaluate/metrics.json`.
        size_mb: of the weights, MB.
    """
    from shapegen.config import SLOTS
    from shapegen.report.results import result_tables
    from shapegen.report.tables import to_markdown

    organ, placement, config = facts["organ"], facts["placement"], facts["config"]
    names = {
        part: slot["name"] if isinstance(slot, Mapping) else slot for part, slot in config.items() if part in SLOTS
    }
    shapes = {name: source["shapes"] for name, source in facts["sources"].items()}
    counted = "; ".join(
        f"`{name}`: {', '.join(f'{count} {split}' for split, count in counts.items())}"
        for name, counts in shapes.items()
    )
    credit = "; ".join(f"{name}: {source['credit']}" for name, source in facts["sources"].items())
    rows = (
        ("What", f"A generator of {organ} surfaces: `shapegen sample --organ {organ} -n 10 --out {organ}s/`"),
        ("Made by", f"`{facts['made_by']}` with shapegen {facts['shapegen']}, seed {facts['seed']} of the run"),
        (
            "Model",
            f"INR `{names['inr']}`, weight space `{names['weight_space']}`, generator `{facts['generator']}`"
            + (f", denoiser `{names['denoiser']}`" if facts["generator"] == "diffusion" else "")
            + f"; {size_mb:.1f} MB, large tensors in {facts['bits']} bits, which moves no surface of {CHECKED} samples "
            f"by more than {facts['rounding_mm']:g} mm",
        ),
        ("Data", f"{counted}. {placement['mean_volume_ml']:.0f} mL in the mean over the training shapes"),
        ("Credit", credit),
        ("Licence", f"**{facts['licence']}**, with attribution to these sources. The program code is Apache-2.0"),
        ("Output", "Closed meshes in mm, RAS, rigidly aligned, origin at the centre of the canonical cube"),
        ("Not for", "**Diagnosis, treatment, or claims about populations.** No sample is a person's organ"),
    )
    lines = [f"# Model card: the pretrained {organ}", "", "| | |", "|---|---|"]
    lines += [f"| {title} | {text} |" for title, text in rows]
    lines += ["", "## Measured", "", _MEASURED, ""]
    lines += [f"{to_markdown(table).strip()}\n" for table in result_tables(metrics)]
    lines += ["## Limits", "", *(f"- {limit}" for limit in _LIMITS)]
    return "\n".join(lines) + "\n"


_MEASURED = (
    "The numbers are those of the run that was frozen. Rows `held out`, and everything about samples, compare with "
    "patients that it did not learn from; null rows say what real shapes reach by the same measure."
)
_LIMITS = (
    "It knows adults whose livers were scanned by CT because of tumours, from few public collections; children, other "
    "diseases and livers after surgery are not in it.",
    "Slices of 0.7 to 5 mm and masks that others drew: what is finer than these is not in it.",
    "Few held-out shapes: the intervals are wide, and a small difference between two numbers means nothing.",
    "That samples are no copies of training shapes is measured above, not proved for each. A sample is not checked or "
    "repaired when it is drawn; `samples.json` says whether it is closed and in one piece.",
    "The surface only: no vessels, segments, tumours or neighbouring organs.",
)


def main() -> None:
    from shapegen.api import open_run
    from shapegen.errors import ShapegenError

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    try:
        made = make(open_run(options.run), options.out)
    except ShapegenError as error:
        sys.exit(f"error: {error}")
    size = sum(path.stat().st_size for path in options.out.iterdir()) / 1e6
    sys.stdout.write(f"{options.out}: {size:.1f} MB, {made['bits']} bits, rounding moves {made['rounding_mm']} mm\n")


if __name__ == "__main__":
    main()
