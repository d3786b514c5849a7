"""Numbers of a cross-validation: each fold's samples are compared within the fold, and the folds' counts pooled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import RunFolderError
from shapegen.metrics.generation import covered, nearest_distances, nearest_is_own
from shapegen.metrics.novelty import UNIT, distribution, ratio_of_means
from shapegen.metrics.statistics import band, bootstrap_interval, wilson_interval
from shapegen.store import derived_seed, read_arrays, read_json

_ITEMS = ("mmd-cd", "coverage-cd", "one-nna-cd")


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One run's sets as places in its matrix of distances.

    Args:
        distances: [s, s] squared Chamfer distances, NaN where not known.
        generated, reference, training: places in it.
        validity: "validity" of the run's metrics.json.
    """

    distances: NDArray[np.float64]
    generated: NDArray[np.int64]
    reference: NDArray[np.int64]
    training: NDArray[np.int64]
    validity: dict[str, Any]

    def between(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.distances[np.ix_(rows, columns)]

    def items(self, samples: NDArray[np.int64], reference: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Return, for MMD (x 100), COV and 1-NNA (%), one number for each shape."""
        across = self.between(samples, reference)
        own = nearest_is_own(self.between(samples, samples), across, self.between(reference, reference))
        return {
            "mmd-cd": 100 * nearest_distances(across),
            "coverage-cd": 100 * covered(across),
            "one-nna-cd": 100 * own,
        }


def pool_generation(runs: Sequence[Path], *, draws: int = 1000, bootstrap: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Pool the generation metrics of several finished runs, such as the folds of one cross-validation.

    Samples are compared with the references of their own run only, in equal numbers. COV is all covered references over
    all references, 1-NNA all shapes that are with their own set over all shapes, MMD and the distances to the nearest
    training shape are means over all shapes. Where a fold has more samples than references, subsets are drawn `draws`
    times (else once) and the value is the mean over draws; the interval's resamples over shapes are made within draws.
    The null row draws, in every fold, as many real training shapes, `draws` times, and pools them the same way.

    Args:
        runs: run folders with a finished `evaluate` stage.
        draws: of the null row and of equally large subsets.
        bootstrap: resamples behind an interval.
        seed: of all draws.

    Returns:
        {"runs", "n_reference", "n_generated", "n_compared", "rows": [{"row", "null", "metrics": {number:
        {"value", "low", "high"}}}], "novelty": {"unit", "generated", "held_out", "ratio"}, "validity": {"n", "empty",
        "valid": {"count", "value", "low", "high"}}}. The null row's low and high are the 2.5 and 97.5 % quantiles.

    Raises:
        RunFolderError: a run has no generation metrics with Chamfer distances, or there is no run.
    """
    if not runs:
        raise RunFolderError("expected at least one run folder to pool, got none")
    folds = [read_fold(Path(run)) for run in runs]
    sizes = [min(len(fold.generated), len(fold.reference)) for fold in folds]

    def samples(fold: Fold, size: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        return fold.items(_draw(fold.generated, size, rng), _draw(fold.reference, size, rng))

    def real(fold: Fold, size: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        size = min(size, len(fold.training))
        return fold.items(_draw(fold.training, size, rng), _draw(fold.reference, size, rng))

    equal = all(len(fold.generated) == len(fold.reference) for fold in folds)
    once = 1 if equal else max(1, draws)
    drawn = _pooled(folds, sizes, samples, draws=once, seed=derived_seed(seed, "equal sets"))
    null = _pooled(folds, sizes, real, draws=draws, seed=derived_seed(seed, "null"))
    generated = np.concatenate([nearest_distances(fold.between(fold.training, fold.generated)) for fold in folds]) * 100
    held_out = np.concatenate([nearest_distances(fold.between(fold.training, fold.reference)) for fold in folds]) * 100
    ratio = bootstrap_interval(
        generated, held_out, draws=bootstrap, seed=derived_seed(seed, "ratio"), statistic=ratio_of_means
    )
    rows = [
        {
            "row": "generated",
            "null": False,
            "metrics": {
                name: _interval([draw[name] for draw in drawn], bootstrap, derived_seed(seed, "bootstrap", name))
                for name in _ITEMS
            },
        },
        {
            "row": "real training shapes as samples",
            "null": True,
            "metrics": {name: band([float(draw[name].mean()) for draw in null]).to_json() for name in _ITEMS},
        },
    ]
    return {
        "runs": len(folds),
        "n_reference": sum(len(fold.reference) for fold in folds),
        "n_generated": sum(len(fold.generated) for fold in folds),
        "n_compared": sum(sizes),
        "draws": draws,
        "rows": rows,
        "novelty": {
            "unit": UNIT,
            "generated": distribution(generated, draws=bootstrap, seed=derived_seed(seed, "generated")),
            "held_out": distribution(held_out, draws=bootstrap, seed=derived_seed(seed, "held out")),
            "ratio": ratio.to_json(),
        },
        "validity": _validity(folds),
    }


def read_fold(run: Path) -> Fold:
    """Read what `evaluate` left in a run folder.

    Raises:
        RunFolderError: the stage is not there, had no generation metrics, or not on Chamfer distances.
    """
    folder = run / "evaluate"
    if not (folder / "sets.json").exists() or not (folder / "metrics.json").exists():
        raise RunFolderError(f"{run} has no generation metrics to pool; run `shapegen evaluate {run}` with some first")
    sets = read_json(folder / "sets.json")
    path = folder / f"distances-{sets['points']}.safetensors"
    if not path.exists():
        raise RunFolderError(f"{path} is not there; evaluate the run with the metrics mmd, coverage and one-nna")
    directed = read_arrays(path)["directed"].astype(np.float64)
    place = {name: k for k, name in enumerate(sets["ids"])}
    parts = {name: np.array([place[each] for each in sets[name]]) for name in ("generated", "reference", "training")}
    fold = Fold(directed + directed.T, **parts, validity=read_json(folder / "metrics.json")["validity"])
    needed = [(first, second) for first in parts for second in parts]
    if any(np.isnan(fold.between(parts[first], parts[second])).any() for first, second in needed):
        raise RunFolderError(f"{path} lacks distances; evaluate the run with the metrics mmd, coverage and one-nna")
    return fold


def _draw(places: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return places if size == len(places) else rng.choice(places, size=size, replace=False)


def _pooled(
    folds: Sequence[Fold],
    sizes: Sequence[int],
    items: Callable[[Fold, int, np.random.Generator], dict[str, NDArray[np.float64]]],
    *,
    draws: int,
    seed: int,
) -> list[dict[str, NDArray[np.float64]]]:
    """Return for each draw the numbers of all shapes of all folds."""
    result = []
    for draw in range(draws):
        rng = np.random.default_rng(derived_seed(seed, draw))
        parts = [items(fold, size, rng) for fold, size in zip(folds, sizes, strict=True)]
        result.append({name: np.concatenate([part[name] for part in parts]) for name in _ITEMS})
    return result


def _interval(draws: Sequence[NDArray[np.float64]], bootstrap: int, seed: int) -> dict[str, float]:
    """Return the mean over draws, with the quantiles of resamples over shapes, spread evenly over the draws."""
    rng = np.random.default_rng(seed)
    each = -(-bootstrap // len(draws))
    resampled = [v[rng.integers(len(v), size=len(v))].mean() for v in draws for _ in range(each)]
    spread = band(resampled or [float(v.mean()) for v in draws])
    return {"value": float(np.mean([v.mean() for v in draws])), "low": spread.low, "high": spread.high}


def _validity(folds: Sequence[Fold]) -> dict[str, Any]:
    count = sum(fold.validity["n"] for fold in folds)
    valid = sum(fold.validity["valid"]["count"] for fold in folds if fold.validity["n"])
    shares = {"valid": {"count": valid, **wilson_interval(valid, count).to_json()}} if count else {}
    return {"n": count, "empty": sum(fold.validity["empty"] for fold in folds), **shares}
