"""Triage on damaged livers whose truth is known, from sources that the classifier has never seen.

    python benchmarks/curation.py --data WORD:word --data BTCV:btcv --data AMOS --work work/bench --others WORD

Every liver to which no check objects, or only one that cleaning mends, counts as good, and is damaged in several ways
of known grade (`shapegen.curation.damage`), as a label map and as a mesh. `--others` is WORD's folder: its spleens,
kidneys, stomachs and bladders are wrong organs. What has been made is kept in `--work` and not made again.

Of the livers that were in an earlier measurement the failures were looked at: `--looked-at` says how many of each
source, and they are told apart from new ones, as they were drawn first. Other organs belong to neither.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from shapegen.curation.classifier import PRIOR, balanced, load_classifier
from shapegen.curation.corpus import Example, make_corpus
from shapegen.curation.examine import checks
from shapegen.curation.examples import CLASSES
from shapegen.curation.triage import Rules, unmended
from shapegen.curation.verdicts import Verdict
from shapegen.metrics.statistics import wilson_interval
from shapegen.progress import Bars
from shapegen.store import write_json
from shapegen_organs.liver import LiverConfig, build
from shapegen_organs.make_triage import accepted, drawn, related, truth

ORGANS = {"spleen": 2, "kidney": 3, "stomach": 5, "bladder": 14, "colon": 10}
RESAMPLES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One shape: what it is, what it was called as it was read and what goes on, and the class probabilities."""

    example: Example
    truth: Verdict
    verdict: Verdict
    final: Verdict
    probability: NDArray[np.float64] | None


def wrong_organs(organ: Any, folder: str, *, most: int, cache: Path, workers: int) -> list[Example]:
    """Read other organs of WORD's label maps as livers."""
    found: list[Example] = []
    items, _ = organ.scan([f"{folder}:word"])
    for name, label in ORGANS.items():
        others = [
            replace(
                item,
                id=f"{item.id}-{name}",
                fingerprint=f"{name}-{item.fingerprint}",
                options={**item.options, "labels": [label]},
            )
            for item in drawn(items, most)
        ]
        bar = Bars().bar
        made = make_corpus(organ, others, damages=0, meshes=0, seed=0, cache=cache, workers=workers, progress=bar)
        found += [replace(each, damage="wrong organ", verdict="nope") for each in made]
    return found


def judged(organ: Any, examples: Sequence[Example], sure: float) -> list[Row]:
    """Sort the examples as `shapegen curate` would."""
    rules, classifier = Rules(checks(), sure=sure), load_classifier(organ)
    if classifier is None:
        raise SystemExit("the organ brings no classifier")
    pairs, relations = related(examples)
    measures = [found for _, found in pairs]
    likely, after = classifier(measures), classifier([unmended(each, rules.checks) for each in measures])
    rows = [Row(each, truth(each), "nope", "nope", None) for each in examples if each.measures is None]
    for row, (each, found) in enumerate(pairs):
        says = rules.judge(found, relations.findings(row, {}), likely[row], after[row])
        chance = np.array([likely[row][name] for name in CLASSES])
        rows.append(Row(each, truth(each), says.verdict, says.final, chance))
    return rows


def share(hits: Sequence[bool]) -> dict[str, float | None]:
    """Return a share with its 95 % interval (Wilson); of nothing none."""
    if not len(hits):
        return {"value": None, "n": 0}
    ends = wilson_interval(int(np.sum(hits)), len(hits))
    return {"value": float(np.mean(hits)), "low": ends.low, "high": ends.high, "n": len(hits)}


def calibration_error(
    probability: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64], *, bins: int = 10
) -> float:
    """Return the mean distance of the likeliest class's probability from how often it is right, in bins of it."""
    sure = probability.max(axis=1)
    off = weights * ((probability.argmax(axis=1) == labels) - sure)
    place = np.clip((sure * bins).astype(int), 0, bins - 1)
    return float(np.abs(np.bincount(place, off, minlength=bins)).sum() / weights.sum())


def by_liver(
    measure: Callable[[NDArray[np.int64]], float], groups: Sequence[str], *, seed: int = 0
) -> dict[str, float | int | None]:
    """Return a measure of row numbers with its 95 % interval over livers drawn with replacement; None where it is none
    of a number."""
    rng, rows = np.random.default_rng(seed), defaultdict(list)
    for row, group in enumerate(groups):
        rows[group].append(row)
    livers = [np.array(each) for each in rows.values()]
    found = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([livers[k] for k in rng.integers(len(livers), size=len(livers))])
        value = measure(chosen)
        if np.isfinite(value):
            found.append(value)
    if not found:
        return {"value": None, "livers": len(livers)}
    low, high = np.quantile(found, [0.025, 0.975])
    return {"value": measure(np.arange(len(groups))), "low": float(low), "high": float(high), "livers": len(livers)}


def table(rows: Sequence[Row]) -> dict[str, Any]:
    """Return everything that is measured."""
    result: dict[str, Any] = {"examples": len(rows), "prior": dict(zip(CLASSES, PRIOR, strict=True))}
    cases = defaultdict(list)
    for row in rows:
        cases[row.example.damage].append(row)
    result["by_damage"] = {
        name: {
            "truth": some[0].example.verdict,
            "refused": sum(row.probability is None for row in some),
            "named_so": share([row.verdict == row.truth for row in some]),
            "not_ok": share([row.verdict != "ok" for row in some]),
            "left_after_cleaning": share([row.example.left for row in some]),
            "go_on": share([row.final == "ok" for row in some]),
            "go_on_with_damage_left": share([row.final == "ok" for row in some if row.example.left]),
        }
        for name, some in sorted(cases.items())
    }
    known = [row for row in rows if row.probability is not None]
    groups = [row.example.group for row in known]
    chance = np.array([row.probability for row in known])
    labels = np.array([CLASSES.index(row.truth) for row in known])
    weights = balanced(labels, np.ones(len(labels)))
    result["classes"] = {}
    for place, name in enumerate(CLASSES):
        hit, odds = labels == place, chance[:, place]

        def auc(chosen: NDArray[np.int64], hit: Any = hit, odds: Any = odds) -> float:
            return float(roc_auc_score(hit[chosen], odds[chosen])) if len(set(hit[chosen])) == 2 else float("nan")

        result["classes"][name] = {
            "recall": share([row.verdict == name for row in rows if row.truth == name]),
            "precision": share([row.truth == name for row in rows if row.verdict == name]),
            "auc": by_liver(auc, groups),
        }
    one = np.ones(len(labels))
    result["expected_calibration_error"] = {
        "at_the_prior": by_liver(
            lambda c: calibration_error(chance[c], labels[c], balanced(labels[c], one[c])), groups
        ),
        "at_the_benchmark's_shares": by_liver(lambda c: calibration_error(chance[c], labels[c], one[c]), groups),
        "so_with_the_prior_set_to_them": by_liver(
            lambda c: calibration_error(_shifted(chance, labels)[c], labels[c], one[c]), groups
        ),
    }
    damaged = [row for row in rows if not row.example.good and row.example.damage != "wrong organ"]
    named = [row for row in damaged if not row.example.mended]
    left = [row for row in damaged if row.example.left]
    # A liver that is scaled to another possible size shows no damage: by the form alone nobody can tell.
    visible = [row for row in left if row.example.damage != "rescaled"]
    result["damaged_that_go_on"] = {
        "with_damage_left": share([row.final == "ok" for row in left]),
        "with_damage_left_but_rescaled": share([row.final == "ok" for row in visible]),
        "by_name": share([row.final == "ok" for row in named]),
    }
    result["cleaned_and_go_on"] = share([row.final == "ok" for row in damaged if not row.example.left])
    result["cut_that_go_on"] = share([row.final == "ok" for row in rows if row.truth == "cut"])
    result["good_that_go_on"] = share([row.final == "ok" for row in rows if row.example.good])
    result["good_files_that_go_on"] = share([row.final == "ok" for row in rows if row.example.damage == "undamaged"])
    result["others_that_go_on"] = share([row.final == "ok" for row in rows if row.example.damage == "wrong organ"])
    result["misses"] = [_name(row) for row in left if row.final == "ok"]
    result["false_alarms"] = [_name(row) for row in rows if row.example.good and row.final != "ok"]
    result["cut_named_otherwise"] = [_name(row) for row in rows if row.truth == "cut" and row.verdict != "cut"]
    result["others_named_cut"] = [_name(row) for row in rows if row.truth != "cut" and row.verdict == "cut"]
    result["weights"] = {name: float(weights[labels == k].sum()) for k, name in enumerate(CLASSES)}
    return result


def _shifted(chance: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what the probabilities are if classes are as frequent as among these shapes (Saerens et al. 2002)."""
    ratio = np.bincount(labels, minlength=len(CLASSES)) / len(labels) / np.array(PRIOR)
    moved = chance * ratio
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))


def one_for_each(numbers: Sequence[int], sources: int) -> list[int]:
    """Return a number for each source: those that are given, or the only one for all."""
    return list(numbers) * sources if len(numbers) == 1 else list(numbers)


def _name(row: Row) -> str:
    return f"{row.example.item}/{row.example.damage} ({row.example.grade:.2f}): {row.verdict}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--others", help="WORD's folder")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--most", type=int, action="append", help="livers of each source: one number, or one for each")
    parser.add_argument("--looked-at", type=int, action="append", help="of these, how many were measured before")
    parser.add_argument("--damages", type=int, default=2, help="ways to damage each as a label map")
    parser.add_argument("--meshes", type=int, default=2, help="ways to damage every second one as a mesh")
    parser.add_argument("--others-most", type=int, default=8, help="scans of which other organs are taken")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sure", type=float, default=0.3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/curation.json"))
    options = parser.parse_args()
    organ, cache, workers = build(LiverConfig()), options.work, options.workers
    made: list[Example] = []
    before: set[str] = set()
    for source, most, known in zip(
        options.data,
        one_for_each(options.most or [60], len(options.data)),
        one_for_each(options.looked_at or [0], len(options.data)),
        strict=True,
    ):
        items = drawn(organ.scan([source])[0], most)
        before |= {item.id for item in items[:known]}
        made += make_corpus(
            organ,
            items,
            damages=options.damages,
            meshes=options.meshes,
            seed=1,
            cache=cache,
            workers=workers,
            progress=Bars().bar,
        )
    examples = accepted(made)
    left_out = sorted({each.item for each in made} - {each.item for each in examples})
    livers = {each.item for each in examples}
    if options.others:
        examples += wrong_organs(organ, options.others, most=options.others_most, cache=cache, workers=workers)
    rows = judged(organ, examples, options.sure)
    found = {"livers": len(livers), "left_out_as_not_good": left_out, **table(rows)}
    if before:
        for name, some in (("looked_at_before", livers & before), ("new", livers - before)):
            chosen = [row for row in rows if row.example.item in some]
            if chosen:
                found[name] = {"livers": len(some), **table(chosen)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
