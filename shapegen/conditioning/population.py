"""What a population's shapes measure: the table that words, ranges and surrogates come from, kept once it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.conditioning.attributes import ATTRIBUTES
from shapegen.errors import ConfigError
from shapegen.store import read_arrays, sha256_json, write_arrays

if TYPE_CHECKING:
    from shapegen.completion.prior import Prior
    from shapegen.data.population import Shape
    from shapegen.generator import Generator
    from shapegen.geometry.surface import Surface
    from shapegen.pretrained import Pretrained
    from shapegen.run import Run

Array = NDArray[np.float64]
Source = Literal["training shapes", "draws"]

FILE = "attributes.safetensors"
"""Beside a frozen generator, if it brings its table along."""
DRAWS = 128
"""Of a generator without training shapes."""
FEWEST = 5
_VERSION = 2


@dataclass(frozen=True, slots=True, eq=False)
class AttributeTable:
    """Attributes of a population, one row for each shape.

    Args:
        values: [n, k], natural units, columns as in `ATTRIBUTES`.
        latents: [n, d], standardised, without padding.
        mean, factor: [d] and [d, d], of the generator's Gaussian (`shapegen.completion.prior.Prior`).
        source: what the shapes are.
    """

    values: Array
    latents: Array
    mean: Array
    factor: Array
    source: Source

    def column(self, name: str) -> Array:
        """Return one attribute of all shapes [n] on its working scale."""
        attribute = ATTRIBUTES[name]
        values = self.values[:, list(ATTRIBUTES).index(name)]
        return np.log(values) if attribute.logarithmic else values

    def spread(self, name: str) -> float:
        """Return the standard deviation on the working scale."""
        return float(max(self.column(name).std(), 1e-6))

    def quantile(self, name: str, probability: float) -> float:
        """Return a quantile on the working scale."""
        return float(np.quantile(self.column(name), probability))

    def range(self, name: str) -> tuple[float, float]:
        """Return the least and the largest value on the working scale: what the data cover."""
        column = self.column(name)
        return float(column.min()), float(column.max())

    def correlation(self, names: Sequence[str]) -> Array:
        """Return the correlations [k, k] on the working scale, shrunk as Ledoit and Wolf (2004) say."""
        from sklearn.covariance import ledoit_wolf

        columns = np.stack([(self.column(name) - self.column(name).mean()) / self.spread(name) for name in ATTRIBUTES])
        covariance = ledoit_wolf(columns.T)[0]
        chosen = [list(ATTRIBUTES).index(name) for name in names]
        root = np.sqrt(np.diag(covariance))
        return np.asarray((covariance / np.outer(root, root))[np.ix_(chosen, chosen)])

    def prior(self, draws: Array | None = None) -> Prior:
        """Return the generator's Gaussian with these draws [n, d], standardised latents without padding."""
        import torch

        from shapegen.completion.prior import Prior

        mean, factor = torch.from_numpy(self.mean), torch.from_numpy(self.factor)
        rows = torch.from_numpy(self.latents[:0] if draws is None else draws)
        u = torch.linalg.solve_triangular(factor, (rows - mean).T, upper=False).T
        return Prior(mean.float(), factor.float(), u.float())

    def u(self) -> Array:
        """Return the shapes' latents [n, d] in the prior's spreads."""
        return np.asarray(np.linalg.solve(self.factor, (self.latents - self.mean).T).T, dtype=np.float64)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        named = {"values": self.values, "latents": self.latents, "mean": self.mean, "factor": self.factor}
        return {
            **{name: value.astype(np.float32) for name, value in named.items()},
            "draws": np.array([self.source == "draws"], dtype=np.float32),
        }

    @staticmethod
    def from_arrays(arrays: dict[str, NDArray[np.float32]]) -> AttributeTable:
        """Undo `arrays`; KeyError where one is missing."""
        values, latents, mean, factor = (arrays[name].astype(float) for name in ("values", "latents", "mean", "factor"))
        return AttributeTable(values, latents, mean, factor, "draws" if arrays["draws"][0] else "training shapes")


def attribute_table(run: Run, generator: Generator, pretrained: Pretrained | None = None) -> AttributeTable:
    """Return the table of a run's training shapes, or of a frozen generator's draws: read, or made and kept.

    A run keeps it in its cache, a frozen generator in the user's, unless it brings it along.

    Raises:
        StageMissingError: the run is not trained.
        ConfigError: too few shapes can be measured.
    """
    brought = pretrained.folder / FILE if pretrained is not None else None
    if brought is not None and pretrained is not None and brought.is_file():
        arrays = read_arrays(brought)
        whole = arrays.get("values", np.zeros((0, 0))).shape[1] == len(ATTRIBUTES)
        if whole and arrays.get("generator", np.zeros(0)).tobytes().hex() == pretrained.sha256:
            return AttributeTable.from_arrays(arrays)
    kept = _cached(run, pretrained)
    if kept.is_file():
        return AttributeTable.from_arrays(read_arrays(kept))
    table = table_of_draws(run, generator) if pretrained is not None else table_of_training(run, generator)
    try:
        write_arrays(kept, table.arrays())
    except OSError:  # a folder that cannot be written costs the time again, nothing else
        run.note(f"{kept.parent} cannot be written, so that the population is measured anew each time")
    return table


def _cached(run: Run, pretrained: Pretrained | None) -> Path:
    if pretrained is not None:
        import platformdirs

        return platformdirs.user_cache_path("shapegen") / f"attributes-{_VERSION}-{pretrained.sha256[:16]}.safetensors"
    from shapegen.basis import result_of

    key = sha256_json([_VERSION, *(result_of(run.stage(name)) for name in ("prepare", "fit", "train"))])
    return run.folder / "cache" / f"attributes-{key[:16]}.safetensors"


def table_of_training(run: Run, generator: Generator) -> AttributeTable:
    """Measure the training shapes of a run in the population's frame."""
    import torch

    from shapegen.data.population import Population
    from shapegen.diffusion.latents import assemble
    from shapegen.store import read_tensors

    population = Population.load(run.require("prepare", needed_by="measuring the population"))
    codes = read_tensors(run.require("fit", needed_by="measuring the population") / "codes.safetensors")["codes"]
    train = [number for number, shape in enumerate(population) if shape.split == "train"]
    shapes = [population[number] for number in train]
    log_scale = torch.tensor([shape.placement.scale for shape in shapes]).log()
    x = generator.scaler.standardise(assemble(generator.layout, codes[train], log_scale)[0])
    with run.progress("measuring the population", len(shapes)) as advance:
        values = measured_rows((aligned(shape) for shape in shapes), advance)
    return _table(generator, x[:, generator.layout.mask].double().numpy(), values, "training shapes")


def table_of_draws(run: Run, generator: Generator, *, count: int = DRAWS) -> AttributeTable:
    """Measure draws of a generator, with the surface detail that its samples get."""
    from shapegen.diffusion.latents import split
    from shapegen.store import derived_seed

    x = generator.latents.sample(count, seed=derived_seed(0, "attributes"), device=generator.device)
    codes, log_scale = split(generator.layout, generator.scaler.restore(x))
    drawn = generator.mesh(codes, log_scale.exp(), resolution=run.config.sample.resolution)
    with run.progress("measuring the population", count) as advance:
        values = measured_rows((sample.surface for sample in drawn), advance)
    return _table(generator, x[:, generator.layout.mask].double().numpy(), values, "draws")


def _table(generator: Generator, latents: Array, values: Array, source: Source) -> AttributeTable:
    from shapegen.completion.prior import prior_of

    usable = np.isfinite(values).all(axis=1)
    if usable.sum() < FEWEST:
        raise ConfigError(
            f"attributes can be asked for where at least {FEWEST} shapes can be measured, got {int(usable.sum())} of "
            f"{len(values)}; train on more shapes"
        )
    prior = prior_of(generator, 0, seed=0)
    mean, factor = prior.mean.double().numpy(), prior.factor.double().numpy()
    return AttributeTable(values[usable], latents[usable], mean, factor, source)


def aligned(shape: Shape) -> Surface:
    """Return a shape's surface in mm in the population's frame."""
    from shapegen.data.placement import Placement

    return Placement(shape.placement.scale).to_mm(shape.canonical())


def measured_rows(surfaces: Iterable[Surface | None], advance: Callable[[int], None] = lambda count: None) -> Array:
    """Return `ATTRIBUTES` of surfaces [n, k], in natural units; NaN where one is empty or cannot be measured."""
    from shapegen.conditioning.measures import all_measures

    rows = []
    for surface in surfaces:
        try:
            found = all_measures(surface) if surface is not None else {}
        except ValueError:
            found = {}
        rows.append([found.get(name, np.nan) for name in ATTRIBUTES])
        advance(1)
    return np.array(rows, dtype=np.float64).reshape(-1, len(ATTRIBUTES))
