"""Does sorting matter? The same messy folder learned from with and without curation, and with the weight space learning
from what is left out too, judged on the same clean livers.

    python benchmarks/curation_matters.py --data LITS --test MSD:mask --test WORD:word --work work/matters

Half of the livers of `--data` are damaged as the published set was: of its 939 livers 487 were rejected, 86 % of these
because they were cut off. All runs have the same settings, the same validation share and the same test livers: those
of the other sources that sorting accepts. What has been made is kept in `--work` and not made again.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
from whole_run import make, results

from shapegen.curation.damage import Damage
from shapegen.curation.damage_masks import MASK_DAMAGES
from shapegen.curation.raw import Mask
from shapegen.data.nifti_write import SCANNER, write_labels
from shapegen.data.population import Population
from shapegen.data.sources import parse_data
from shapegen.data.split import position
from shapegen.data.walk import stem_of
from shapegen.store import derived_seed, read_json, write_json
from shapegen_organs.liver import LiverConfig, build

REJECTED, CUT = 487 / 939, 0.86
WAYS = {
    "sorted": ["curate.use=true", "curate.weight_space=[]"],
    "sorted-helped": ["curate.use=true"],
    "unsorted": ["curate.use=false"],
}
METRICS = ("volume-iou", "mmd", "coverage", "one-nna", "kpd", "nearest-training", "anatomy")


def choose(rng: np.random.Generator) -> Damage[Mask] | None:
    """Return what is done to a liver: most often nothing, or a cut."""
    if rng.random() >= REJECTED:
        return None
    cut = rng.random() < CUT
    ways = [way for way in MASK_DAMAGES if (way.verdict == "cut") == cut]
    return ways[int(rng.integers(len(ways)))]


def messy(data: str, folder: Path, seed: int) -> dict[str, str]:
    """Write the folder, if it is not there, and return what was done to each file."""
    truth = folder.with_suffix(".json")
    if truth.exists():
        return read_json(truth)
    organ, done = build(LiverConfig()), {}
    for item in organ.scan([data])[0]:
        rng = np.random.default_rng(derived_seed(seed, "messy", item.id))
        way = choose(rng)
        mask = organ.read(item)[0].mask
        if way is not None:
            mask = way.apply(mask, float(rng.uniform(*way.grades)), rng)
        write_mask(mask, folder / f"{stem_of(item.path)}.nii.gz")
        done[stem_of(item.path)] = way.name if way else "undamaged"
    write_json(truth, done)
    return done


def write_mask(mask: Mask, path: Path) -> None:
    """Write a label map in which the organ touches those ends of the scan that it touched before, and no others."""
    free = [
        (int(first > 0), int(first + size < full))
        for first, size, full in zip(mask.offset, mask.inside.shape, mask.full_shape, strict=True)
    ]
    affine = mask.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ [before for before, _ in free]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(path, np.pad(mask.inside, free).astype(np.uint8), affine, code=SCANNER)


def write_sources(path: Path, folder: Path, tests: list[str], accepted: set[str] | None) -> None:
    """Write a sources file; of the test sources only the accepted stems, if they are known."""
    listed: list[dict] = [{"path": str(folder.resolve()), "name": "messy"}]
    organ = build(LiverConfig())
    for text in tests:
        (source,) = parse_data(text, organ.tables.presets)
        stems = {stem_of(item.path): item.path.name for item in organ.scan([text])[0]}
        fixes = {
            file: {"exclude": "not accepted as a test liver"}
            for stem, file in stems.items()
            if accepted is not None and stem not in accepted
        }
        listed.append({"path": str(Path(source.path).resolve()), "preset": source.preset, "fixes": fixes})
    write_json(path, {"sources": listed})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="livers to learn from, half of which are damaged")
    parser.add_argument("--test", action="append", required=True, help="livers to judge by")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, action="append", help="of runs; the first also of the damage")
    parser.add_argument("--way", action="append", choices=WAYS, help="default: all")
    options = parser.parse_args()
    work: Path = options.work.resolve()
    seeds: list[int] = options.seed or [0]
    done = messy(options.data, work / "messy", seeds[0])
    organ = build(LiverConfig())
    split: dict[str, str] = {}
    for item in organ.scan([str(work / "messy"), *options.test])[0]:
        known = stem_of(item.path) in done
        split[item.group] = "test" if not known else "validation" if position(item.group) < 0.15 else "train"
    write_json(work / "split.json", split)
    write_sources(work / "all.json", work / "messy", options.test, None)
    made = {"metrics": METRICS, "split": work / "split.json"}
    first = work / "sorted"
    make("run", first, data=work / "all.json", settings=WAYS["sorted"], seed=seeds[0], **made)
    kept = Population.load(first / "prepare")
    accepted = {shape.id.split("/")[-1] for shape in kept if shape.split == "test"}
    write_sources(work / "same.json", work / "messy", options.test, accepted)
    for seed, way in product(seeds, options.way or WAYS):
        folder = work / (way if seed == seeds[0] else f"{way}-{seed}")
        settings = [*WAYS[way], f"cache={work / 'cache'}"]
        make("run", folder, data=work / "same.json", settings=settings, seed=seed, **made)
        shapes = Population.load(folder / "prepare")
        learned = [shape.id.split("/")[-1] for shape in shapes if shape.split != "test"]
        damaged = sum(done[name] != "undamaged" for name in learned)
        tests, more = sum(shape.split == "test" for shape in shapes), len(shapes.space_only)
        print(
            f"{folder.name}: {len(learned)}, {damaged} damaged; {more} for the weight space alone; {tests} test livers"
        )
        for row in results(folder):
            if row["null"] == "no" and "training" not in row["row"] and "validation" not in row["row"]:
                value = f"{row['value']} ({row['low']} to {row['high']})"
                print(f"  {row['table']}, {row['measure']}, {row['row']}: {value}")


if __name__ == "__main__":
    main()
