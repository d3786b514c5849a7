"""Time for each liver to fit an INR: this package against the reference recipe, run beside it on the same livers.

    python benchmarks/inr_fitting.py runs/lits --livers 16

The reference recipe: a ReLU perceptron with positional encoding (36,737 parameters), PyTorch's default initialisation,
RAdam at 1e-2, 1,000 steps of 38,912 points, binary cross-entropy on occupancy, one liver after the other. It is run in
full on one liver (some minutes); its time a step is also taken in turn with ours, so that a machine that slows down
slows both. Quality is the intersection over union on the 128^3 lattice, by the sign of the field.

`--curve` adds the quality of both against time: of ours the mean after whole fits of so many steps, of the reference
along its one fit of the first liver (its rate is constant), each with the seconds that a liver takes.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from shapegen.data.population import Population
from shapegen.geometry.sdf import lattice_occupancy, occupancy
from shapegen.inr.field import numpy_field
from shapegen.inr.fitting import FitSettings, fit_weights
from shapegen.inr.layout import parameter_layout
from shapegen.inr.samples import FieldSamples, load_samples
from shapegen_plugins.fourier_mlp import FourierMlp
from shapegen_plugins.siren import Siren

RESOLUTION = 128
CURVE = (25, 50, 100, 200, 400, 800, 1600)
REFERENCE_CURVE = (25, 50, 100, 200, 400, 600, 800)


def weights_of(inr: torch.nn.Module) -> torch.Tensor:
    return parameter_layout(inr).flatten({name: value.detach() for name, value in inr.named_parameters()})


def volume_iou(inr: torch.nn.Module, weights: torch.Tensor, truth: np.ndarray) -> float:
    axis = np.linspace(-0.5, 0.5, RESOLUTION, dtype=np.float32)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    field = numpy_field(inr, weights)
    inside = np.concatenate([field(part) < 0 for part in np.array_split(lattice, 64)]).reshape(truth.shape)
    return float((inside & truth).sum() / (inside | truth).sum())


def reference_points(surface, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the reference's 40,000 points (half uniform, half surface + N(0, 0.01)) and their occupancy."""
    from shapegen.geometry.surface import sample_points

    rng = np.random.default_rng(seed)
    uniform = rng.random((20000, 3)) - 0.5
    near = sample_points(surface, 20000, rng)[0] + 0.01 * rng.normal(size=(20000, 3))
    points = np.concatenate([uniform, near])
    inside = occupancy(surface, points)
    return torch.from_numpy(points.astype(np.float32)), torch.from_numpy(inside.astype(np.float32))


class Reference:
    """The reference recipe as a loop that can be stepped."""

    def __init__(self, surface, seed: int = 42) -> None:
        torch.manual_seed(seed)
        self.inr = FourierMlp(width=128, depth=3, octaves=4)
        self.optimiser = torch.optim.RAdam(self.inr.parameters(), lr=1e-2)
        self.points, self.inside = reference_points(surface, seed)

    def step(self) -> None:
        rows = torch.randperm(len(self.points))[:38912]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(self.inr(self.points[rows]), self.inside[rows])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()


def our_point(
    inr: Siren, samples: FieldSamples, truth: Sequence[np.ndarray], settings: FitSettings
) -> dict[str, float]:
    """Return seconds for each liver and mean quality of fits of so many steps from a random start."""
    begin = time.perf_counter()
    weights = fit_weights(inr, weights_of(inr), samples, settings=settings, seed=0)
    seconds = (time.perf_counter() - begin) / len(truth)
    quality = [volume_iou(inr, row, inside) for row, inside in zip(weights, truth, strict=True)]
    return {"steps": settings.steps, "seconds": seconds, "viou": float(np.mean(quality)), "viou_min": min(quality)}


def reference_curve(reference: Reference, truth: np.ndarray, steps: int) -> list[dict[str, float]]:
    """Return seconds and quality of the reference after some numbers of steps, of one fit; the last is the whole."""
    found, seconds = [], 0.0
    for step in range(1, steps + 1):
        begin = time.perf_counter()
        reference.step()
        seconds += time.perf_counter() - begin
        if step in REFERENCE_CURVE or step == steps:
            viou = volume_iou(reference.inr, weights_of(reference.inr), truth)
            found.append({"steps": step, "seconds": seconds, "viou": viou})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder with a finished prepare stage")
    parser.add_argument("--livers", type=int, default=16)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--points", type=int, default=512)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--rounds", type=int, default=3, help="paired timings: ours, then some reference steps")
    parser.add_argument("--reference-steps", type=int, default=1000, help="steps of the full reference fit; 0: none")
    parser.add_argument("--curve", action="store_true", help="quality against time, of both")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/inr_fitting.json"))
    options = parser.parse_args()

    population = Population.load(options.run / "prepare")
    shapes = population.shapes[:: max(1, len(population) // options.livers)][: options.livers]
    samples = load_samples(shapes)
    truth = [lattice_occupancy(shape.canonical(), RESOLUTION) for shape in shapes]
    torch.manual_seed(0)
    inr = Siren(width=options.width, depth=3, omega=30.0)
    settings = FitSettings(steps=options.steps, points=options.points, learning_rate=options.rate)
    reference = Reference(shapes[0].canonical())
    reference.step()
    ours, theirs, weights = [], [], None
    for _ in range(options.rounds):
        begin = time.perf_counter()
        weights = fit_weights(inr, weights_of(inr), samples, settings=settings, seed=0)
        ours.append((time.perf_counter() - begin) / len(shapes))
        begin = time.perf_counter()
        for _ in range(10):
            reference.step()
        theirs.append((time.perf_counter() - begin) / 10 * 1000)
    quality = [volume_iou(inr, row, inside) for row, inside in zip(weights, truth, strict=True)]
    result = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "livers": len(shapes),
        "ours": {
            "seconds_per_liver": statistics.median(ours),
            "viou_mean": float(np.mean(quality)),
            "viou_min": float(np.min(quality)),
            "width": options.width,
            "steps": options.steps,
            "points": options.points,
        },
        "reference_seconds_per_liver": statistics.median(theirs),
        "ratios": [t / o for o, t in zip(ours, theirs, strict=True)],
        "ratio": statistics.median(t / o for o, t in zip(ours, theirs, strict=True)),
    }
    if options.curve:
        result["curve_ours"] = [our_point(inr, samples, truth, replace(settings, steps=steps)) for steps in CURVE]
    if options.reference_steps:
        curve = reference_curve(Reference(shapes[0].canonical()), truth[0], options.reference_steps)
        result["reference_full"] = {**curve[-1], "ours_on_the_same_liver": quality[0]}
        if options.curve:
            result["curve_reference"] = curve
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
