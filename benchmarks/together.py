"""How well organs of one patient go together: learned from real patients, beside null rows.

    python benchmarks/together.py runs/liver runs/spleen runs/kidney runs/stomach --scenes 30 [--picture scenes.png]

Prediction, 5-fold by patient: where the other organs lie and how large they are, given the first one's leading axes and
size, beside the mean of the training patients; and the held-out gain of the joint distribution over independent organs.
The number of leading axes is chosen in each fold's training patients. Codes are those of the runs, whose weight spaces
have seen the patients' shapes, but not how they go together.

Overlap: of real patients' surfaces (not exactly 0, they are smoothed), of organs that are drawn independently and
placed at the mean pose or at poses of their own, of joint draws, and of these moved apart and divided.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from machine import keep, machine
from scipy.spatial import cKDTree

from shapegen.api import open_run
from shapegen.data.population import Population
from shapegen.data.split import by_fold
from shapegen.geometry.surface import Surface, component_count, signed_volume
from shapegen.metrics.statistics import bootstrap_interval
from shapegen.parts.export import PALETTE
from shapegen.scenes.apart import push_apart
from shapegen.scenes.draw import Drawn, draw_organs
from shapegen.scenes.joint import SHRINKAGES, Joint, choose, fit_joint, held_out_gains, rows_of
from shapegen.scenes.members import MIRROR, Member, open_members, scan_of
from shapegen.scenes.resolve import common_grid, filled, overlap_mm3
from shapegen.scenes.scene import Scene, at_place, covariance_of_places, make_scene
from shapegen.scenes.shared import Shared, shared_scans

FOLDS = 5
SPACING = 2.5


def interval(values: Sequence[float] | np.ndarray, patients: Sequence[str] | None = None) -> dict[str, float]:
    """Return mean and 95 % interval; scans of one patient are resampled together, as their mean."""
    values = np.asarray(values, float)
    if patients is not None:
        names = np.asarray(patients)
        values = np.array([values[names == name].mean() for name in dict.fromkeys(patients)])
    return {**bootstrap_interval(values, draws=4000, seed=0).to_json(), "n": len(values)}


def predictions(members: Sequence[Member], shared: Shared) -> dict[str, object]:
    fold_of = {}
    for fold in range(FOLDS):
        splits = by_fold(list(shared.patients), folds=FOLDS, fold=fold, validation=0.0)
        fold_of |= {patient: fold for patient, split in splits.items() if split == "test"}
    folds = np.array([fold_of[patient] for patient in shared.patients])
    names = [member.name for member in members]
    errors = {way: {name: np.empty((len(shared), 2)) for name in names[1:]} for way in ("predicted", "mean")}
    gains, chosen = np.empty(len(shared)), []
    for fold in range(FOLDS):
        test, train = (np.flatnonzero(mask).tolist() for mask in (folds == fold, folds != fold))
        learned = shared.at(train)
        best = choose(learned)
        joint = fit_joint(learned, best.axes, best.shrinkage)
        chosen.append({"axes": best.axes, "shrinkage": best.shrinkage})
        rows = rows_of(shared.at(test), joint.blocks)
        gains[test] = joint.gain(rows)
        known = joint.blocks.known
        found = np.concatenate([rows[:, :known], joint.given(rows[:, :known])[0]], axis=1)
        mean = np.broadcast_to(joint.mean, rows.shape)
        for way, values in (("predicted", found), ("mean", mean)):
            for organ, name in enumerate(names[1:], start=1):
                at, size = joint.blocks.centre(organ), joint.blocks.lead(organ).stop - 1
                spread = float(members[organ].generator.scaler.std[-1, 0])
                errors[way][name][test, 0] = np.linalg.norm(values[:, at] - rows[:, at], axis=1)
                errors[way][name][test, 1] = 3 * spread * np.abs(values[:, size] - rows[:, size])
    table = {}
    for name in names[1:]:
        one, other = errors["predicted"][name], errors["mean"][name]
        table[name] = {
            what: {
                "predicted": interval(one[:, k], shared.patients),
                "mean": interval(other[:, k], shared.patients),
                "difference": interval(one[:, k] - other[:, k], shared.patients),
            }
            for k, what in enumerate(("centre_mm", "log_volume"))
        }
    every = {
        what: interval(
            np.mean([errors["predicted"][name][:, k] - errors["mean"][name][:, k] for name in names[1:]], axis=0),
            shared.patients,
        )
        for k, what in enumerate(("centre_mm", "log_volume"))
    }
    return {
        "organs": table,
        "difference_over_organs": every,
        "held_out_gain_nats": interval(gains, shared.patients),
        "chosen": chosen,
        "gain_by_axes": {str(axes): by_shrinkage(shared, axes) for axes in (0, 1, 2, 4, 8)},
    }


def by_shrinkage(shared: Shared, axes: int) -> dict[str, dict[str, float]]:
    gains = held_out_gains(shared, axes)
    return {str(s): interval(row, shared.patients) for s, row in zip(SHRINKAGES, gains, strict=True)}


def real_surfaces(members: Sequence[Member], shared: Shared) -> Callable[[str], list[Surface]]:
    """Return what reads the organs of a scan in the patient's frame."""
    shapes = []
    for member in members:
        side = member.name.rpartition("-")[2] if member.name != member.run.config.organ.name else ""
        population = Population.load(member.run.stage("prepare"))
        own = {scan_of(s, side): s for s in population if not side or s.meta.get("side") == side}
        shapes.append(own)

    def read(scan: str) -> list[Surface]:
        found = []
        for member, own in zip(members, shapes, strict=True):
            surface = own[scan].surface()
            found.append(surface.moved(surface.vertices @ MIRROR).flipped() if member.mirrored else surface)
        return found

    return read


def overlap(surfaces: Sequence[Surface]) -> float:
    grid = common_grid(surfaces, SPACING)
    return overlap_mm3(filled(surfaces, grid), grid)


def at_mean_pose(drawn: Sequence[Drawn], joint: Joint) -> list[Drawn]:
    from scipy.spatial.transform import Rotation

    placed = []
    for organ, each in enumerate(drawn):
        centre = joint.mean[joint.blocks.centre(organ)] if organ else np.zeros(3)
        turn = Rotation.from_rotvec(joint.mean[joint.blocks.turn(organ)]).as_matrix()
        sign = MIRROR if each.placements[0].mirrored else np.eye(3)
        placed.append(
            replace(each, placements=tuple(replace(p, centre=centre, rotation=turn @ sign) for p in each.placements))
        )
    return placed


def samples_of(members: Sequence[Member], drawn: Sequence[Drawn], resolution: int) -> list[list]:
    meshed = [
        list(member.generator.mesh(each.codes, each.scales, resolution=resolution, seed=each.seed))
        for member, each in zip(members, drawn, strict=True)
    ]
    return [list(row) for row in zip(*meshed, strict=True)]


def placed(samples: Sequence, drawn: Sequence[Drawn], number: int) -> list[Surface]:
    return [
        at_place(sample.surface, each.placements[number])
        for sample, each in zip(samples, drawn, strict=True)
        if sample.surface is not None
    ]


def correlations(members: Sequence[Member], shared: Shared, drawn: Sequence[Drawn]) -> dict[str, dict[str, float]]:
    """Return the correlation of log volumes of each pair of organs, of real patients and of joint draws."""
    real = [latents[:, -1] for latents in shared.latents]
    made = [np.log(each.scales.numpy()) for each in drawn]
    names = [member.name for member in members]
    rng = np.random.default_rng(0)
    table = {}
    for a in range(len(names)):
        for b in range(a):
            resampled = [
                np.corrcoef(real[a][rows], real[b][rows])[0, 1]
                for rows in rng.integers(len(shared), size=(2000, len(shared)))
            ]
            low, high = np.quantile(resampled, [0.025, 0.975])
            table[f"{names[b]}, {names[a]}"] = {
                "real": float(np.corrcoef(real[a], real[b])[0, 1]),
                "low": float(low),
                "high": float(high),
                "drawn": float(np.corrcoef(made[a], made[b])[0, 1]),
            }
    return table


def gaps(names: Sequence[str], everyone: Sequence[dict[str, Surface]]) -> dict[str, dict[str, float]]:
    """Return quartiles of the closest distance [mm] of the vertices of each pair of organs."""
    found: dict[str, list[float]] = {}
    for organs in everyone:
        for a, b in itertools.combinations([name for name in names if name in organs], 2):
            near = cKDTree(organs[a].vertices).query(organs[b].vertices[::3])[0].min()
            found.setdefault(f"{a}, {b}", []).append(float(near))
    return {
        pair: dict(zip(("low", "median", "high"), np.quantile(values, [0.25, 0.5, 0.75]).tolist(), strict=True))
        for pair, values in found.items()
    }


def places(shared: Shared, names: Sequence[str], scenes: Sequence[Scene]) -> dict[str, dict[str, float]]:
    """Return how far the mean centre of drawn and moved organs lies from that of real ones, and the spread [mm] of each
    (root of the summed variances)."""
    table = {}
    for organ, name in enumerate(names[1:], start=1):
        there = [(scene, scene.names.index(name)) for scene in scenes if name in scene.names]
        drawn = np.array([scene.placements[k].centre for scene, k in there])
        moved = drawn + np.array([scene.shifts[k] for scene, k in there])
        real = shared.centres[organ]
        table[name] = {
            f"{what}_{how}": value
            for what, rows in (("real", real), ("drawn", drawn), ("moved", moved))
            for how, value in (
                ("off_mm", float(np.linalg.norm(rows.mean(axis=0) - real.mean(axis=0)))),
                ("spread_mm", float(np.sqrt(rows.var(axis=0, ddof=1).sum()))),
            )
        }
    return table


def sweep(shared: Shared, scenes: Sequence[Scene], spread: np.ndarray) -> dict[str, dict[str, float]]:
    """Return, for each cost of overlap, how far organs are moved, what overlap is left to divide, and how far the mean
    centres then lie from those of real patients."""
    table = {}
    for cost in (1e-3, 1e-4, 3e-5, 1e-5, 3e-6):
        shifts = np.array([push_apart(scene.drawn, spread, cost=cost) for scene in scenes])
        left, share = [], []
        for scene, shift in zip(scenes, shifts, strict=True):
            moved = [s.moved(s.vertices + t) for s, t in zip(scene.drawn, shift, strict=True)]
            grid = common_grid(moved, 4.0)
            left.append(overlap_mm3(filled(moved, grid), grid))
            share.append(left[-1] / sum(signed_volume(surface) for surface in moved))
        centres = np.array([[place.centre for place in scene.placements] for scene in scenes]) + shifts
        off = centres.mean(axis=0)[1:] - np.array([rows.mean(axis=0) for rows in shared.centres[1:]])
        table[str(cost)] = {
            "shift_mm": float(np.linalg.norm(shifts[:, 1:], axis=2).mean()),
            "overlap_mm3": float(np.mean(left)),
            "share_of_volume": float(np.mean(share)),
            "off_mm": float(np.linalg.norm(off, axis=1).mean()),
        }
        print(cost, table[str(cost)], flush=True)
    return table


def picture(path: Path, scenes: Sequence[Scene], names: Sequence[str]) -> None:
    """Draw scenes beside one another, seen from the front and from behind."""
    from shapegen.report.render import common_extent, png, render

    pixels = 260
    merged, paint = [], []
    for scene in scenes:
        organs = scene.organs()
        start = np.cumsum([0, *(len(s.vertices) for s in organs.values())])
        vertices = np.concatenate([s.vertices for s in organs.values()])
        faces = np.concatenate([s.faces + first for s, first in zip(organs.values(), start, strict=False)])
        colour = np.concatenate(
            [np.tile(PALETTE[names.index(name)], (len(s.vertices), 1)) for name, s in organs.items()]
        )
        merged.append(Surface(vertices, faces))
        paint.append(colour.astype(float))
    extent = common_extent(merged, views=("anterior", "posterior"))
    rows = [
        np.concatenate(
            [
                render(s, view=view, size=(pixels, pixels), colour=c, extent_mm=extent, bar_mm=50.0 if first else 0.0)
                for first, (s, c) in zip([True] + [False] * len(merged), zip(merged, paint, strict=True), strict=False)
            ],
            axis=1,
        )
        for view in ("anterior", "posterior")
    ]
    path.write_bytes(png(np.concatenate(rows, axis=0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--scenes", type=int, default=30)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument(
        "--sweep", action="store_true", help="other costs of overlap too; no scene may have empty organs"
    )
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--shown", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/together.json"))
    options = parser.parse_args()
    start = time.process_time()
    members = open_members([open_run(folder) for folder in options.runs])
    names = [member.name for member in members]
    everyone = shared_scans(members, test=True)
    result: dict[str, object] = {
        "machine": machine(),
        "organs": names,
        "scans": len(everyone),
        "patients": len(set(everyone.patients)),
        "left_out": everyone.left_out,
        "prediction": predictions(members, everyone),
    }
    print(f"{len(everyone)} scans of {result['patients']} patients", flush=True)
    learned = shared_scans(members)
    best = choose(learned)
    joint = fit_joint(learned, best.axes, best.shrinkage)
    result["learned"] = {"scans": len(learned), **asdict(best)}
    read = real_surfaces(members, everyone)
    overlaps: dict[str, list[float]] = {"real patients": [overlap(read(scan)) for scan in everyone.scans]}
    alone = draw_organs(members, replace(joint, correlation=np.eye(len(joint.mean))), options.scenes, seed=0)
    mean, drawn = at_mean_pose(alone, joint), draw_organs(members, joint, options.scenes, seed=0)
    independent, together = (samples_of(members, each, options.resolution) for each in (alone, drawn))
    overlaps["independent, mean pose"] = [overlap(placed(s, mean, k)) for k, s in enumerate(independent)]
    overlaps["independent, own poses"] = [overlap(placed(s, alone, k)) for k, s in enumerate(independent)]
    print({name: np.mean(values) for name, values in overlaps.items()}, flush=True)
    scenes, seconds, spread = [], [], covariance_of_places(joint)
    for k, samples in enumerate(together):
        begun = time.process_time()
        scenes.append(make_scene(names, samples, [each.placements[k] for each in drawn], spread, SPACING))
        seconds.append(time.process_time() - begun)
    for state in ("drawn", "moved", "divided"):
        overlaps[f"joint, {state}"] = [scene.overlap_mm3[state] for scene in scenes]
    result["overlap_mm3"] = {
        name: {**interval(values), "median": float(np.median(values)), "without": float(np.mean(np.array(values) == 0))}
        for name, values in overlaps.items()
    }
    lost = [
        1 - signed_volume(surface) / signed_volume(before) if surface is not None else 1.0
        for scene in scenes
        for surface, before in zip(scene.resolved.surfaces, scene.drawn, strict=True)
    ]
    whole = [component_count(surface) == 1 for scene in scenes for surface in scene.organs().values()]
    before = [component_count(surface) == 1 for scene in scenes for surface in scene.drawn]
    result["scenes"] = {
        "count": len(scenes),
        "empty": sum(len(scene.empty) for scene in scenes),
        "shift_mm": interval(np.concatenate([np.linalg.norm(scene.shifts[1:], axis=1) for scene in scenes])),
        "volume_lost": {**interval(lost), "largest": float(max(lost))},
        "in_one_piece": float(np.mean(whole)),
        "in_one_piece_as_drawn": float(np.mean(before)),
        "cpu_seconds_each": float(np.mean(seconds)),
    }
    if options.sweep:
        result["sweep"] = sweep(everyone, scenes, spread)
    result["places"] = places(everyone, names, scenes)
    real = [dict(zip(names, read(scan), strict=True)) for scan in everyone.scans]
    result["gaps_mm"] = {"real": gaps(names, real), "drawn": gaps(names, [scene.organs() for scene in scenes])}
    result["correlation_of_log_volumes"] = correlations(members, everyone, draw_organs(members, joint, 1000, seed=1))
    result["cpu_seconds"] = time.process_time() - start
    keep(options.out, result)
    if options.picture:
        picture(options.picture, scenes[: options.shown], names)


if __name__ == "__main__":
    main()
