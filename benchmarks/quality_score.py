"""How well the score of livers tells damage that it has never seen, how sure it is, and how steady.

    shapegen curate lits-couinaud --organ liver --out work/lits
    shapegen curate word:word btcv:btcv msd-vessel-couinaud:mask amos-meshes --organ liver --out work/others
    python benchmarks/quality_score.py --train work/lits --test work/others --run runs/lits --work work/quality \\
        --source amos-meshes --source btcv --source word --source msd-vessel-couinaud

Learned from the first folder, measured on the second: other patients of other sources. Every family of damages is left
out in turn and then scored by what has not seen it (kinds that look alike are left out together). Beside it stand the
null rows: the volume alone, and the checks of `shapegen curate` on the same surfaces.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from curation import by_liver
from machine import keep, machine
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from shapegen.api import open_run
from shapegen.curation import examine
from shapegen.curation.examine import checks
from shapegen.curation.folder import read_curation, set_aside
from shapegen.curation.raw import Evidence, RawShape
from shapegen.curation.triage import Rules
from shapegen.curation.verdicts import SEVERITY, worst
from shapegen.data.repair import surface_from_mesh
from shapegen.discovery import discover
from shapegen.errors import UnusableItemError
from shapegen.generator import load_generator
from shapegen.geometry.export import read_mesh
from shapegen.geometry.surface import Surface
from shapegen.metrics.smoothed import distance_lattice
from shapegen.metrics.statistics import wilson_interval
from shapegen.pretrained import pretrained_organ
from shapegen.progress import Bars
from shapegen.quality.examples import GOOD, Example, Given, Way, make_examples
from shapegen.quality.find import template_of, ways_of
from shapegen.quality.kinds import FAMILIES, KINDS, REMADE, UNGRADED
from shapegen.quality.learn import learn
from shapegen.quality.measures import NAMES
from shapegen.quality.measuring import measure
from shapegen.quality.model import QualityModel
from shapegen.quality.population import drawn, good_shapes, refused_shapes
from shapegen.quality.strays import strays
from shapegen.store import derived_seed
from shapegen_organs.liver import LiverConfig, build
from shapegen_organs.make_quality import LESSON, STRAYS
from shapegen_organs.population import simplify

GRADES = (0.1, 0.5, 0.9)
LADDERS = 3
"""Kinds of damage for each test shape, each at all grades and at the same place."""
MOVED = 6
CLOSED = ("cut-by-plane", "holes", "spikes", "ragged", "staircase", "merged", "melted", "crumbs")
"""Damages after which a surface can still be made of other triangles."""
SAMPLES = 16


def ladders(shapes: Sequence[Given], *, seed: int) -> list[list[Way]]:
    """Return for each shape nothing, the way through a mask, and `LADDERS` kinds at all grades."""
    kinds, found = list(KINDS), []
    for number, shape in enumerate(shapes):
        ways = [Way(GOOD, 0.0, 0), Way(REMADE, 0.0, 0)]
        for k in range(LADDERS):
            kind = kinds[(number * LADDERS + k) % len(kinds)]
            own = derived_seed(seed, "damage", shape.id, kind)
            ways += [Way(kind, grade, own) for grade in GRADES]
        found.append(ways)
    return found


def unseen_logits(
    train: Sequence[Example], test: Sequence[Example], template: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return logits [n] of test examples from scores that have not seen their family (good ones: the mean of all), and
    logits [families, n] of all. Real shapes that were refused, which may be of any family, are left out of all."""
    train = [each for each in train if not each.kind.startswith("refused")]
    with Bars().bar("leaving out", len(FAMILIES)) as advance:
        rows = []
        for kinds in FAMILIES.values():
            model = learn([each for each in train if each.kind not in kinds], template, card={})
            rows.append(model.logits(model.evidence([each.measured for each in test])))
            advance(1)
    table = np.array(rows)
    own = table.mean(axis=0)
    for row, kinds in enumerate(FAMILIES.values()):
        hit = np.array([each.kind in kinds for each in test])
        own[hit] = table[row, hit]
    return own, table


def auc(values: NDArray[np.float64], bad: NDArray[np.bool_], groups: Sequence[str]) -> dict[str, Any]:
    """Return the area under the curve of a badness [n], with its interval over patients."""

    def of(chosen: NDArray[np.int64]) -> float:
        some = bad[chosen]
        return float(roc_auc_score(some, values[chosen])) if some.any() and not some.all() else float("nan")

    return {**by_liver(of, groups), "damaged": int(bad.sum())}


def calibration_error(chance: NDArray[np.float64], good: NDArray[np.bool_], *, bins: int = 10) -> float:
    """Return the mean distance of the probability from how often shapes are good, in bins of it, both halves weighing
    the same."""
    weights = np.where(good, 0.5 / max(good.sum(), 1), 0.5 / max((~good).sum(), 1))
    place = np.clip((chance * bins).astype(int), 0, bins - 1)
    return float(np.abs(np.bincount(place, weights * (good - chance), minlength=bins)).sum())


def ranks(values: NDArray[np.float64], test: Sequence[Example]) -> dict[str, Any]:
    """Return how the badness [n] ranks with the grade of damage: within the ladder of one shape, and over all."""
    place = {(each.id, each.kind, each.grade): row for row, each in enumerate(test)}
    within: dict[str, list[float]] = defaultdict(list)
    for name, kind in dict.fromkeys((each.id, each.kind) for each in test if not each.good):
        steps = [(name, GOOD, 0.0), *((name, kind, grade) for grade in GRADES)]
        if kind not in UNGRADED and all(step in place for step in steps):
            within[kind].append(float(spearmanr([step[2] for step in steps], [values[place[s]] for s in steps])[0]))
    found = {}
    for kind, rows in sorted(within.items()):
        hit = [row for row, each in enumerate(test) if each.kind == kind or each.kind == GOOD]
        pooled = spearmanr([test[row].grade for row in hit], values[hit])[0]
        found[kind] = {"within": float(np.mean(rows)), "ladders": len(rows), "pooled": float(pooled)}
    every = [value for rows in within.values() for value in rows]
    return {"all": {"within": float(np.mean(every)), "ladders": len(every)}, "kinds": found}


def steadiness(model: QualityModel, shapes: Sequence[Given]) -> dict[str, Any]:
    """Return how the probability changes under rigid moves and other triangles: good shapes, and damaged ones."""
    found: dict[str, list[float]] = defaultdict(list)
    flips: dict[str, list[bool]] = defaultdict(list)
    for number, shape in enumerate(shapes):
        surface = shape.surface
        if number % 2:
            kind = CLOSED[number // 2 % len(CLOSED)]
            surface = KINDS[kind](surface, 0.3, np.random.default_rng(number))
        before = chances(model, [surface])[0]
        for name, changed in changes(surface, number):
            after = chances(model, [changed])[0]
            found[name].append(abs(after - before))
            flips[name].append((after < 0.5) != (before < 0.5))
    return {
        name: {"mean": float(np.mean(rows)), "most": float(np.max(rows)), "crossed 1/2": int(sum(flips[name]))}
        for name, rows in found.items()
    } | {"shapes": len(shapes)}


def changes(surface: Surface, seed: int) -> Iterator[tuple[str, Surface]]:
    """Yield the same shape under other coordinates and other triangles."""
    turn = Rotation.random(random_state=seed).as_matrix()
    yield "moved", surface.moved(surface.vertices @ turn.T + [30.0, -80.0, 200.0])
    yield "a third of the faces", simplify(surface, len(surface.faces) // 3)
    yield "extracted anew at 1.7 mm", distance_lattice(surface, spacing=1.7, margin=6.0).level()
    both = surface.moved(surface.vertices @ turn.T)
    yield "moved, and a third of the faces", simplify(both, len(surface.faces) // 3)


def chances(model: QualityModel, surfaces: Sequence[Surface]) -> NDArray[np.float64]:
    """Return the probabilities [n] of surfaces."""
    shapes = [measure(surface, model.template) for surface in surfaces]
    return np.asarray(0.5 * (1 + np.tanh(model.logits(model.evidence(shapes)) / 2)))


def shares(values: NDArray[np.float64]) -> dict[str, Any]:
    """Return quartiles of probabilities, and which share is at least 0.5 and 0.8."""
    found: dict[str, Any] = {"n": len(values), "quartiles": np.quantile(values, (0.25, 0.5, 0.75)).round(3).tolist()}
    for least in (0.5, 0.8):
        count = int((values >= least).sum())
        ends = wilson_interval(count, len(values))
        found[f"at least {least}"] = {"value": count / len(values), "low": ends.low, "high": ends.high}
    return found


def checks_alone(shapes: Sequence[Given], ways: Sequence[Sequence[Way]]) -> tuple[list[float], list[bool], list[str]]:
    """Return how severe the checks of `shapegen curate` find each damaged surface, whether it is good, and its
    patient."""
    rules, severity, good, groups = Rules(checks()), [], [], []
    with Bars().bar("checking", len(shapes)) as advance:
        for shape, own in zip(shapes, ways, strict=True):
            for way in own:
                if way.kind in (GOOD, REMADE):
                    surface = shape.surface
                else:
                    surface = KINDS[way.kind](shape.surface, way.grade, np.random.default_rng(way.seed))
                severity.append(severity_of(rules, surface))
                good.append(way.kind in (GOOD, REMADE))
                groups.append(shape.group)
            advance(1)
    return severity, good, groups


def severity_of(rules: Rules, surface: Surface) -> float:
    """Return how severe the checks find a surface as it is: the class of the worst objection first, then how far it is
    beyond its threshold."""
    try:
        clean = surface_from_mesh(surface, voxel_mm=1.5)[0]
        found = rules.findings(examine.measure(Evidence(RawShape(surface=surface), clean, (300.0, 5000.0))))
    except UnusableItemError:
        return 100.0
    beyond = [each.measure / each.threshold if each.threshold > 0 else 1.0 for each in found]
    return 10 * SEVERITY[worst(found)] + min(9.0, max(beyond, default=0.0))


def refused(folder: Path, sources: Sequence[str]) -> list[Given]:
    """Return the shapes of a curated folder from these sources that sorting does not let go on, as cleaning left
    them."""
    found = []
    for row in read_curation(folder)["items"]:
        if row["id"].partition("/")[0] not in sources:
            continue
        if (row["after_repair"] or row["verdict"]) != "ok" and row["surface"]:
            surface = read_mesh(folder / row["surface"])
            found.append(Given(row["id"], row["group"], surface, row["after_repair"] or row["verdict"], 1.0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="curated folder")
    parser.add_argument("--test", required=True, help="curated folder of other patients")
    parser.add_argument("--run", type=Path, required=True, help="run on the first, whose samples are scored")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--source", action="append", required=True, help="of the second folder; several, in turn")
    parser.add_argument("--shapes", type=int, default=10, help="of the second folder")
    parser.add_argument(
        "--nulled", type=int, default=10, help="of these, on how many the checks of `shapegen curate` are run; slow"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/quality_score.json"))
    options = parser.parse_args()
    organ, bar, lesson = build(LiverConfig()), Bars().bar, LESSON
    cache, workers = options.work, options.workers
    good, _ = good_shapes(organ, [options.train], most=lesson.shapes, progress=bar)
    template = template_of(good, cache)
    catalog = discover()
    pretrained = pretrained_organ(catalog, "liver")
    failed = refused_shapes([options.train]) + strays(pretrained.generator(pretrained.run(catalog)), STRAYS, seed=0)
    made = make_examples(
        [*good, *failed], ways_of(good, failed, lesson), template, cache=cache, workers=workers, progress=bar
    )
    train = list(made)
    others = evenly(organ, options.test, options.source, options.shapes)
    unseen_strays = strays(load_generator(open_run(options.run), needed_by="strays"), STRAYS // 2, seed=1)
    own = ladders(others, seed=1)
    alone = [[Way(GOOD, 0.0, 0)] for _ in unseen_strays]
    made = make_examples(
        [*others, *unseen_strays], [*own, *alone], template, cache=cache, workers=workers, progress=bar
    )
    test = list(made)
    fine = np.array([each.good for each in test])
    groups = [each.group for each in test]
    logits, table = unseen_logits(train, test, template)
    model = learn(train, template, card={})
    known = model.logits(model.evidence([each.measured for each in test]))
    result: dict[str, Any] = {
        "machine": machine(),
        "learned from": {"good": len(good), "examples": len(train)},
        "measured on": {"good": int(fine.sum()), "examples": len(test), "patients": len({each.id for each in others})},
        "left out": {},
        "kinds": {},
    }
    for row, (family, kinds) in enumerate(FAMILIES.items()):
        for name, chosen in ((family, kinds), *((kind, (kind,)) for kind in kinds)):
            hit = np.flatnonzero(fine | np.array([each.kind in chosen for each in test]))
            own_groups = [groups[k] for k in hit]
            result["left out" if name == family else "kinds"][name] = auc(-table[row, hit], ~fine[hit], own_groups)
    result["all left out"] = auc(-logits, ~fine, groups)
    result["all seen"] = auc(-known, ~fine, groups)
    for name, values in (("left out", logits), ("seen", known)):
        chance = sigmoid(values)
        result[f"calibration error, {name}"] = by_liver(lambda c, p=chance: calibration_error(p[c], fine[c]), groups)
    result["ranks, left out"] = ranks(-logits, test)
    result["ranks, seen"] = ranks(-known, test)
    volume = np.stack([each.measured.values[NAMES.index("volume")] for each in test])
    usual = np.log([each.measured.values[NAMES.index("volume")] for each in train if each.good])
    result["null: volume alone"] = auc(np.abs(np.log(volume) - np.median(usual)), ~fine, groups)
    keep(options.out, result)
    if options.nulled:
        severity, nulled, patients = checks_alone(others[: options.nulled], own[: options.nulled])
        result["null: checks of curate"] = auc(np.array(severity), ~np.array(nulled), patients)
        same = np.array([each.id in {shape.id for shape in others[: options.nulled]} for each in test])
        result["the score on the same, left out"] = auc(
            -logits[same], ~fine[same], [groups[k] for k in np.flatnonzero(same)]
        )
        keep(options.out, result)
    result["steady"] = steadiness(model, others[:MOVED])
    folder = options.run / "sample" / "meshes"
    samples = [read_mesh(path) for path in sorted(folder.iterdir())[:SAMPLES]]
    held = evenly(organ, options.test, options.source, options.shapes + SAMPLES)[options.shapes :]
    result["samples"] = shares(chances(model, samples))
    result["other real shapes"] = shares(chances(model, [shape.surface for shape in held]))
    result["test shapes"] = shares(sigmoid(known[[each.kind == GOOD for each in test]]))
    keep(options.out, result)
    bad = refused(Path(options.test), options.source)[:SAMPLES]
    result["refused by sorting"] = shares(chances(model, [shape.surface for shape in bad]))
    keep(options.out, result)


def evenly(organ: Any, folder: str, sources: Sequence[str], most: int) -> list[Given]:
    """Return shapes of a curated folder that sorting let go on, these sources in turn."""
    items, _ = set_aside(organ.scan([folder])[0])
    rows = [drawn([each for each in items if each.id.partition("/")[0] == source], most) for source in sources]
    turns = [own[k] for k in range(most) for own in rows if k < len(own)]
    return [Given(each.id, each.group, organ.load(each).surface) for each in turns[:most]]


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))


if __name__ == "__main__":
    main()
