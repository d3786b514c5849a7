"""Triage on damaged livers whose truth is known, from sources that the classifier has never seen.

    python benchmarks/curation.py --data WORD:word --data BTCV:btcv --data MSD:mask --work work/bench --others WORD

Every liver to which no check objects as it is counts as good, and is damaged in several ways of known grade
(`shapegen.curation.damage`). `--others` is WORD's folder: its spleens, kidneys, stomachs and bladders are wrong organs.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from shapegen.curation.classifier import CLASSES, load_classifier
from shapegen.curation.corpus import GOOD, Example, make_corpus
from shapegen.curation.damage_meshes import MESH_DAMAGES
from shapegen.curation.examine import checks, measure
from shapegen.curation.raw import Evidence, RawShape
from shapegen.curation.triage import Rules, unmended
from shapegen.data.align import Probe, probe
from shapegen.data.repair import surface_from_mesh
from shapegen.metrics.statistics import wilson_interval
from shapegen.progress import Bars
from shapegen.protocols import Item
from shapegen.store import derived_seed, read_arrays, read_json, write_arrays, write_json
from shapegen_organs.liver import LiverConfig, build
from shapegen_organs.make_triage import accepted, good_items, related

ORGANS = {"spleen": 2, "kidney": 3, "stomach": 5, "bladder": 14, "colon": 10}


def wrong_organs(organ, folder: str, *, cache: Path, workers: int) -> list[Example]:
    found = []
    items, _ = organ.scan([f"{folder}:word"])
    for name, label in ORGANS.items():
        others = [
            replace(
                item,
                id=f"{item.id}-{name}",
                fingerprint=f"{name}-{item.fingerprint}",
                options={**item.options, "labels": [label]},
            )
            for item in items
        ]
        made = make_corpus(organ, others, damages=0, seed=0, cache=cache, workers=workers, progress=Bars().bar)
        found += [replace(each, damage="wrong organ", verdict="nope") for each in made]
    return found


def damaged_meshes(organ, items: Sequence[Item], *, cache: Path) -> list[Example]:
    """Damage the cleaned surfaces of these items in every way that there is for meshes, and read them as mesh files."""
    found = []
    for item in items:
        surface = organ.load(item).surface
        for damage in MESH_DAMAGES:
            path = cache / f"{item.fingerprint[:24]}-mesh-{damage.name}"
            rng = np.random.default_rng(derived_seed(1, item.id, damage.name))
            grade = float(rng.uniform(*damage.grades))
            if not path.with_suffix(".json").is_file():
                raw = RawShape(surface=damage.apply(surface, grade, rng))
                clean, _ = surface_from_mesh(raw.surface, voxel_mm=organ.voxel_mm)
                write_arrays(path.with_suffix(".safetensors"), probe(clean).to_arrays())
                write_json(path.with_suffix(".json"), measure(Evidence(raw, clean, organ.volume_range_ml)))
            found.append(
                Example(
                    id=f"{item.id}-mesh/{damage.name}",
                    group=item.group,
                    damage=f"mesh: {damage.name}",
                    grade=grade,
                    verdict=damage.verdict,
                    mended=damage.mended,
                    measures=read_json(path.with_suffix(".json")),
                    reason="",
                    probe=Probe.from_arrays(read_arrays(path.with_suffix(".safetensors"))),
                )
            )
    return found


def share(hits: Sequence[bool]) -> dict[str, float]:
    ends = wilson_interval(int(np.sum(hits)), len(hits))
    return {"value": float(np.mean(hits)), "low": ends.low, "high": ends.high, "n": len(hits)}


def calibration_error(probability: np.ndarray, truth: np.ndarray, *, bins: int = 10) -> float:
    sure, right = probability.max(axis=1), probability.argmax(axis=1) == truth
    place = np.clip((sure * bins).astype(int), 0, bins - 1)
    return float(sum(abs(right[place == b].sum() - sure[place == b].sum()) for b in range(bins)) / len(truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--others", help="WORD's folder")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--most", type=int, default=60, help="livers of each source")
    parser.add_argument("--damages", type=int, default=6)
    parser.add_argument("--meshes", type=int, default=8, help="livers whose surfaces are damaged as meshes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sure", type=float, default=0.3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/curation.json"))
    options = parser.parse_args()
    organ = build(LiverConfig())
    items = [item for source in options.data for item in good_items(organ, [source], most=options.most)]
    cache, workers = options.work, options.workers
    made = make_corpus(organ, items, damages=options.damages, seed=1, cache=cache, workers=workers, progress=Bars().bar)
    examples = list(made)
    left_out = {each.id.rpartition("/")[0] for each in examples} - {
        each.id.rpartition("/")[0] for each in accepted(examples)
    }
    examples = accepted(examples)
    if options.others:
        examples += wrong_organs(organ, options.others, cache=cache, workers=workers)
    clean = [item for item in items if item.id not in left_out]
    examples += damaged_meshes(organ, clean[:: max(1, len(clean) // max(1, options.meshes))], cache=cache)
    rules, classifier = Rules(checks(), sure=options.sure), load_classifier(organ)
    pairs, relations = related(examples)
    measures = [each for _, each in pairs]
    likely = classifier(measures) if classifier else [None] * len(measures)
    after = classifier([unmended(each, rules.checks) for each in measures]) if classifier else likely
    rows = [(each, "nope", "nope", None) for each in examples if each.measures is None]
    for row, (each, found) in enumerate(pairs):
        judged = rules.judge(found, relations.findings(row, {}), likely[row], after[row])
        rows.append((each, judged.verdict, judged.final, likely[row]))

    table: dict = {"examples": len(rows), "left_out_as_not_good": sorted(left_out), "by_damage": {}, "classes": {}}
    by_damage = defaultdict(list)
    for each, verdict, final, _ in rows:
        by_damage[each.damage].append((each, verdict, final))
    for name, cases in sorted(by_damage.items()):
        wanted = "ok" if cases[0][0].damage == GOOD else cases[0][0].verdict
        table["by_damage"][name] = {
            "truth": wanted,
            "named_so": share([verdict == wanted for _, verdict, _ in cases]),
            "not_ok": share([verdict != "ok" for _, verdict, _ in cases]),
            "ok_after_repair": share([final == "ok" for _, _, final in cases]),
        }
    truth = np.array([each.verdict for each, *_ in rows])
    said = np.array([verdict for _, verdict, *_ in rows])
    for name in CLASSES:
        row = {"recall": share(said[truth == name] == name), "precision": share(truth[said == name] == name)}
        known = [(each.verdict == name, p[name]) for each, _, _, p in rows if p is not None]
        if known and len({hit for hit, _ in known}) == 2:
            row["auc"] = float(roc_auc_score(*zip(*known, strict=True)))
        table["classes"][name] = row
    damaged = [(each, final) for each, _, final, _ in rows if each.damage != GOOD and not each.mended]
    table["damaged_that_go_on"] = share([final == "ok" for _, final in damaged])
    table["good_that_go_on"] = share([final == "ok" for each, _, final, _ in rows if each.damage == GOOD])
    if classifier:
        sure = np.array([[p[name] for name in CLASSES] for *_, p in rows if p is not None])
        places = np.array([CLASSES.index(each.verdict) for each, *_, p in rows if p is not None])
        table["expected_calibration_error"] = calibration_error(sure, places)
        table["misses"] = [
            f"{each.id} ({each.grade:.2f})"
            for each, _, final, _ in rows
            if final == "ok" and not each.mended and each.damage != GOOD
        ]
        table["false_alarms"] = [each.id for each, _, final, _ in rows if final != "ok" and each.damage == GOOD]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, table)
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
