"""The Chamfer suite (MMD, COV, 1-NNA) against the plain pairwise tensor implementation, run in turn.

    python benchmarks/generation_metrics.py [RUN] [--shapes 100] [--points 2048] [--threads 2]

The shapes are the livers of RUN's `prepare` stage, or the embedded population; where there are too few, stretched
copies are added. Ours computes every distance that the suite needs (each pair of the union once), in rounds of rows.
The plain implementation, as in the reference code, computes three full matrices, pair by pair: `torch.cdist` of two
clouds, squared, and the two minima. In each round it is timed on some random pairs, and its time for the suite is the
time for a pair times 3 n^2. Its older form with three batched matrix products is timed on fewer pairs. The order
changes from round to round, so that a machine that slows down slows all. The distances of all pairs that were timed
are compared, and the whole suite on 8 against 8 shapes. Memory: the peak of 2,000 against 2,000 shapes with few
points, in a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from machine import keep, machine

from shapegen.data.population import Population
from shapegen.evaluation import GenerationSets
from shapegen.geometry.surface import Surface
from shapegen.metrics.bank import ShapeBank
from shapegen_plugins.generation import Suite

RESULTS = Path(__file__).parent / "results" / "generation_metrics.json"


def livers(run: Path | None, count: int) -> dict[str, Surface]:
    """Return surfaces by name: of the run or the embedded population, then stretched copies of these."""
    if run is not None:
        surfaces = [shape.canonical() for shape in Population.load(run / "prepare")]
    else:
        from shapegen_organs.liver import LiverConfig, build

        organ = build(LiverConfig())
        surfaces = [organ.load(item).surface for item in organ.scan(())[0]]
    rng = np.random.default_rng(0)
    while len(surfaces) < count:
        other = surfaces[len(surfaces) % 100]
        surfaces.append(other.moved(other.vertices * rng.uniform(0.8, 1.25, 3)))
    return {f"s{k:03d}": surface for k, surface in enumerate(surfaces[:count])}


def plain(x: torch.Tensor, y: torch.Tensor) -> float:
    """One pair of clouds [p, 3]."""
    squared = torch.cdist(x, y).square()
    return float(squared.min(dim=1).values.mean() + squared.min(dim=0).values.mean())


def products(x: torch.Tensor, y: torch.Tensor) -> float:
    """The same in the form of the older evaluation codes: |x|^2 and |y|^2 from the diagonals of full products."""
    xx, yy, xy = x @ x.T, y @ y.T, x @ y.T
    squared = xx.diagonal()[:, None] + yy.diagonal()[None] - 2 * xy
    return float(squared.min(dim=1).values.mean() + squared.min(dim=0).values.mean())


def plain_suite(clouds: torch.Tensor, n: int) -> dict[str, float]:
    """MMD (x 100), COV and 1-NNA (%) of the first n clouds against the rest, all three matrices in full."""
    full = torch.tensor([[plain(x, y) for y in clouds] for x in clouds]).double()
    across = full[:n, n:]
    full.fill_diagonal_(float("inf"))
    nearest = full.argmin(dim=1)
    own = (nearest < n) == (torch.arange(len(clouds)) < n)
    return {
        "mmd-cd": 100 * float(across.min(dim=0).values.mean()),
        "coverage-cd": 100 * len(across.argmin(dim=1).unique()) / (len(clouds) - n),
        "one-nna-cd": 100 * float(own.double().mean()),
    }


def timed(work):
    wall, cpu = time.perf_counter(), time.process_time()
    value = work()
    return value, time.perf_counter() - wall, time.process_time() - cpu


def memory(shapes: int, points: int) -> None:
    """Print the growth of this process's peak, in MB, over a comparison of two sets."""
    bank = ShapeBank([f"s{k}" for k in range(2 * shapes)], lambda name: None, workers=2)  # type: ignore[arg-type, return-value]
    clouds = np.random.default_rng(0).random((2 * shapes, points, 3), dtype=np.float32)
    bank.points = lambda count: clouds  # type: ignore[method-assign]
    sets = GenerationSets(bank.of(bank.ids[:shapes]), bank.of(bank.ids[shapes:]), bank.of([]), count=points)
    Suite().distance.between(clouds[0], clouds[1])  # what is loaded once is not counted
    before = peak_mb()
    sets.chamfer("generated", "reference")
    print(peak_mb() - before)


def peak_mb() -> float:
    """Return the most memory that this process had so far (getrusage counts what its parent had, too)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=None)
    parser.add_argument("--shapes", type=int, default=100, help="in either set")
    parser.add_argument("--points", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=30, help="that the plain implementation is timed on in a round")
    parser.add_argument("--memory-shapes", type=int, default=2000)
    parser.add_argument("--memory-of", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.memory_of:
        memory(*options.memory_of)
        return
    torch.set_num_threads(options.threads)
    n, rng = options.shapes, np.random.default_rng(0)
    surfaces = livers(options.run, 2 * n)
    bank = ShapeBank(list(surfaces), surfaces.__getitem__, workers=options.threads)
    everything, clouds = bank.of(bank.ids), torch.from_numpy(bank.points(options.points).copy())
    distance = Suite().distance
    plain(clouds[0], clouds[1])  # not to be timed with what is loaded once
    products(clouds[0], clouds[1])
    rounds, known = [], []
    for number, block in enumerate(np.array_split(np.arange(2 * n), options.rounds)):
        pairs = rng.integers(2 * n, size=(options.pairs, 2))
        done = {}

        def ours(block=block, done=done):
            known_before = len(known)
            some = bank.of([bank.ids[k] for k in block])
            _, wall, cpu = timed(lambda: bank.distances(some, everything, distance, options.points))
            known.extend(block)
            new = len(block) * (2 * n - known_before) - len(block) * (len(block) + 1) // 2
            done["ours"] = {"wall_s": wall, "cpu_s": cpu, "pairs": new}

        def tensors(pairs=pairs, done=done):
            found, wall, cpu = timed(lambda: [plain(clouds[i], clouds[j]) for i, j in pairs])
            done["plain"] = {"wall_s": wall, "cpu_s": cpu, "pairs": len(pairs), "found": found}

        def old(pairs=pairs, done=done):
            few = pairs[: max(1, len(pairs) // 4)]
            found, wall, cpu = timed(lambda: [products(clouds[i], clouds[j]) for i, j in few])
            done["products"] = {"wall_s": wall, "cpu_s": cpu, "pairs": len(few), "found": found}

        for work in ((ours, tensors, old), (old, tensors, ours))[number % 2]:
            work()
        matrix = bank.distances(everything, everything, distance, options.points) if number == options.rounds - 1 else 0
        rounds.append({"at": pairs, **done})
        print(number, {name: f"{1e3 * row['wall_s'] / row['pairs']:.1f} ms a pair" for name, row in done.items()})
    apart = {
        name: max(
            abs(value - matrix[i, j]) for r in rounds for value, (i, j) in zip(r[name]["found"], r["at"], strict=False)
        )
        for name in ("plain", "products")
    }
    sets = GenerationSets(bank.of(bank.ids[:n]), bank.of(bank.ids[n:]), bank.of([]), count=options.points)
    small = sets.with_generated(sets.generated.take(range(8)), reference=sets.reference.take(range(8)))
    mine, theirs = Suite()(small), plain_suite(torch.cat([clouds[:8], clouds[n : n + 8]]), 8)
    few = 8
    peak = subprocess.run(
        [sys.executable, __file__, "--memory-of", str(options.memory_shapes), str(few)],
        check=True,
        capture_output=True,
        text=True,
    )

    def ratio(name: str, clock: str) -> float:
        """Time of the whole suite: 3 n^2 pairs for a plain implementation, (2n)(2n - 1)/2 for ours."""
        pairs = 3 * n * n / (n * (2 * n - 1))
        return statistics.median(
            pairs * (r[name][clock] / r[name]["pairs"]) / (r["ours"][clock] / r["ours"]["pairs"]) for r in rounds
        )

    clean = [
        {name: {k: v for k, v in r[name].items() if k != "found"} for name in ("ours", "plain", "products")}
        for r in rounds
    ]
    result = {
        "what": "time of the plain pairwise implementation over time of the Chamfer suite (MMD, COV, 1-NNA), medians "
        "of rounds run in turn; the plain one is timed on a sample of its pairs",
        "shapes": f"{n} against {n}",
        "from": "a run's livers" if options.run else "the embedded livers and stretched copies",
        "points": options.points,
        "threads": options.threads,
        "ratio_wall": ratio("plain", "wall_s"),
        "ratio_cpu": ratio("plain", "cpu_s"),
        "ratio_wall_old_form": ratio("products", "wall_s"),
        "ratio_cpu_old_form": ratio("products", "cpu_s"),
        "suite_cpu_s": sum(r["ours"]["cpu_s"] for r in rounds) + timed(lambda: Suite()(sets))[2],
        "largest_difference_of_a_distance": {name: float(value) for name, value in apart.items()},
        "suite_8_against_8": {"ours": mine, "plain": theirs},
        "memory": {
            "shapes": f"{options.memory_shapes} against {options.memory_shapes}",
            "points": few,
            "peak_mb": float(peak.stdout),
            "matrix_mb": 8 * (2 * options.memory_shapes) ** 2 / 2**20,
            "points_mb_at_2048": 2 * options.memory_shapes * 2048 * (3 * 4 + 8) / 2**20,
        },
        "rounds": clean,
        "machine": machine(),
    }
    keep(options.out, result)


if __name__ == "__main__":
    main()
