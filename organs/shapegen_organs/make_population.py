"""Make the embedded population of an organ from a run's generator.

    shapegen run --organ liver --data lits-couinaud --out runs/lits
    python -m shapegen_organs.make_population runs/lits --out organs/shapegen_organs/liver_population.safetensors

Draws livers, keeps those that are valid and no near-copies of a training liver, simplifies them and packs them with a
data card.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from shapegen.data.population import Population
    from shapegen.geometry.surface import Surface

VOLUME_ML = (500.0, 4000.0)
COPY_SHARE = 0.5
"""A sample nearer to its nearest training liver than this share of the held-out livers' median is a near-copy."""
POINTS = 2048


@dataclass(frozen=True, slots=True)
class Drawn:
    """The samples that are kept, and why the others were not."""

    surfaces: list[Surface]
    counts: dict[str, int]


def near_distances(surfaces: Sequence[Surface], population: Population) -> np.ndarray:
    """Return the squared Chamfer distance [n] of each surface to its nearest training shape.

    All are aligned, centred and scaled to a largest coordinate of 0.475, as in the generation metrics.
    """
    import numpy as np

    from shapegen.metrics.chamfer import pairwise_chamfer
    from shapegen.metrics.normalise import normalised_points

    def clouds(shapes: Sequence[Surface]) -> np.ndarray:
        return np.stack([normalised_points(s, POINTS, np.random.default_rng(k)) for k, s in enumerate(shapes)])

    train = [shape.canonical() for shape in population.of("train")]
    return pairwise_chamfer(clouds(surfaces), clouds(train)).min(axis=1)


def draw(run_folder: Path, *, count: int, wanted: int, seed: int) -> Drawn:
    """Draw `count` samples of a run and keep at most `wanted` that are valid and not near-copies."""
    import numpy as np

    import shapegen
    from shapegen.data.population import Population
    from shapegen.geometry.export import read_mesh

    population = Population.load(run_folder / "prepare")
    held_out = [shape.canonical() for shape in population.of("validation", "test")]
    least = COPY_SHARE * float(np.median(near_distances(held_out, population)))
    with tempfile.TemporaryDirectory() as folder:
        samples = shapegen.sample(run_folder, count, out=Path(folder), seed=seed, mesh_format="ply")["samples"]
        valid = [row for row in samples if is_valid(row)]
        surfaces = [read_mesh(Path(folder) / row["file"]) for row in valid]
    new = near_distances(surfaces, population) >= least
    kept = [surface for surface, keep in zip(surfaces, new, strict=True) if keep]
    counts = {"drawn": len(samples), "valid": len(valid), "not_near_copies": len(kept), "kept": min(wanted, len(kept))}
    return Drawn(kept[:wanted], counts)


def is_valid(row: dict[str, Any], volume_ml: tuple[float, float] = VOLUME_ML) -> bool:
    """Tell from a row of `samples.json` whether a sample is closed, oriented, in one piece and of a possible volume."""
    if row["empty"]:
        return False
    whole = row["closed"] and row["oriented"] and row["components"] == 1
    return bool(whole and volume_ml[0] <= row["volume_ml"] <= volume_ml[1])


def main() -> None:
    from shapegen import __version__
    from shapegen.data.population import Population
    from shapegen_organs.make_pretrained import LICENCE, SHIPPABLE, check_sources
    from shapegen_organs.population import pack, simplify

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder with a trained generator")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draw", type=int, default=140)
    parser.add_argument("--keep", type=int, default=100)
    parser.add_argument("--faces", type=int, default=4000, help="of each simplified surface")
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    population = Population.load(options.run / "prepare")
    sources = check_sources(population)
    drawn = draw(options.run, count=options.draw, wanted=options.keep, seed=options.seed)
    surfaces = [simplify(surface, options.faces) for surface in drawn.surfaces]
    card = {
        "what": "synthetic livers, drawn from a generative model; none is a scan of a person",
        "made_by": f"shapegen {__version__}, python -m shapegen_organs.make_population",
        "trained_on": f"{len(population.of('train'))} liver surfaces of {' and '.join(sources)}",
        "sources": [f"{name}: {SHIPPABLE[name]}" for name in sources],
        "licence": LICENCE,
        "seed": options.seed,
        "filter": {
            **drawn.counts,
            "volume_ml": VOLUME_ML,
            "near_copy": f"nearest training liver (squared Chamfer) nearer than {COPY_SHARE} x the held-out median",
        },
        "frame": "mm, RAS, rigidly aligned, origin at the centre of the canonical cube",
        "limits": "their surface detail is random texture; not for diagnosis or treatment",
    }
    names = [f"synthetic-liver-{index:03d}" for index in range(len(surfaces))]
    pack(options.out, surfaces, names, card=card)
    sys.stdout.write(f"{options.out}: {drawn.counts}, {options.out.stat().st_size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main()
