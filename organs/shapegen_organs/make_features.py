"""Train the feature network of an organ on its embedded population.

    python -m shapegen_organs.make_features organs/shapegen_organs/liver_population.safetensors \
        --out organs/shapegen_organs/liver_features.safetensors

Contrastive, without labels: two samples of points of one deformed shape are to have like features, those of all other
shapes of the batch, other deformations of the same organ included, unlike ones. About 3 minutes of one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from shapegen_plugins.organ_network import OrganNetwork

POINTS = 512
"""Of each view."""
SHAPES, VERSIONS = 12, 3
"""In a batch: shapes, and differently deformed versions of each, which only their deformation tells apart."""
TEMPERATURE = 0.2


def clouds(path: Path, *, count: int = 4096) -> Tensor:
    """Return points [shapes, count, 3] on the shapes of a population, under the reference normalisation."""
    import numpy as np
    import torch

    from shapegen.metrics.normalise import normalised_points
    from shapegen_organs.population import read_ids, read_shape

    surfaces = (read_shape(path, name) for name in read_ids(path))
    points = [normalised_points(surface, count, np.random.default_rng(k)) for k, surface in enumerate(surfaces)]
    return torch.from_numpy(np.stack(points).astype(np.float32))


def deform(points: Tensor, rng: Generator) -> Tensor:
    """Return clouds [b, n, 3], each moved by its own random smooth field, scaled, turned a little and normalised again.

    The field is a sum of 12 plane waves of wavelengths 0.25 to 1.2 cubes with a total deviation of 0.005 to 0.05 cubes.
    """
    import torch

    batch, waves = len(points), 12
    length = 0.25 + 0.95 * torch.rand(batch, waves, generator=rng)
    direction = torch.nn.functional.normalize(torch.randn(batch, waves, 3, generator=rng), dim=-1)
    amplitude = torch.randn(batch, waves, 3, generator=rng) * length[..., None]
    deviation = 0.005 + 0.045 * torch.rand(batch, generator=rng)
    amplitude *= (deviation / amplitude.square().sum(dim=(1, 2)).div(2 * 3).sqrt())[:, None, None]
    phase = 2 * torch.pi * torch.rand(batch, 1, waves, generator=rng)
    angle = torch.einsum("bnc,bwc->bnw", points, 2 * torch.pi * direction / length[..., None]) + phase
    moved = points + angle.cos() @ amplitude
    skew = torch.randn(batch, 3, 3, generator=rng) * 0.05
    turn = torch.linalg.matrix_exp(skew - skew.mT)
    scale = 1 + 0.1 * torch.randn(batch, 1, 3, generator=rng).clamp(-2, 2)
    moved = (moved * scale) @ turn
    moved = moved - moved.mean(dim=1, keepdim=True)
    return moved * (0.475 / moved.abs().amax(dim=(1, 2), keepdim=True))


def views(points: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Return two disjoint samples [b, POINTS, 3] of the points of each of SHAPES x VERSIONS deformed shapes."""
    import torch

    chosen = torch.randperm(len(points), generator=rng)[:SHAPES].repeat_interleave(VERSIONS)
    some = torch.randperm(points.shape[1], generator=rng)[: 2 * POINTS]
    # All clouds of the batch have points of their own, hence one order for all.
    moved = deform(points[chosen], rng)[:, some]
    return moved[:, :POINTS], moved[:, POINTS:]


def contrast(first: Tensor, second: Tensor) -> Tensor:
    """Return the temperature-scaled cross entropy of pairs [b, d] of unit length (NT-Xent, Chen et al. 2020, eq. 1)."""
    import torch

    both = torch.cat([first, second])
    alike = (both @ both.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(both)).roll(len(first))
    return torch.nn.functional.cross_entropy(alike, partner)


def train(points: Tensor, *, steps: int, seed: int) -> tuple[OrganNetwork, list[float]]:
    """Return the trained network, standardised over deformed shapes, and the loss of each step."""
    import torch

    from shapegen_plugins.organ_network import OrganNetwork

    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    network = OrganNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps, pct_start=0.1)
    losses: list[float] = []
    for _ in range(steps):
        first, second = views(points, rng)
        embedded = network.embed(torch.cat([first, second]))
        loss = contrast(*embedded.chunk(2))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        rate.step()
        losses.append(loss.item())
    with torch.no_grad():
        features = torch.cat([network.embed(part[:, :2048]) for part in points.split(10)])
        network.mean.copy_(features.mean(dim=0))
        network.std.copy_(features.std(dim=0))
    return network.eval(), losses


def retrieval(network: OrganNetwork, points: Tensor, *, seed: int, batches: int = 20) -> float:
    """Return how often the nearest of all other views of a batch is the view of the same deformed shape."""
    import torch

    rng = torch.Generator().manual_seed(seed)
    hits = []
    with torch.no_grad():
        for _ in range(batches):
            first, second = (network(part) for part in views(points, rng))
            nearest = torch.cdist(first, second).argmin(dim=1)
            hits.append((nearest == torch.arange(len(first))).float().mean())
    return float(torch.stack(hits).mean())


def main() -> None:
    import torch

    from shapegen import __version__
    from shapegen.store import sha256_file, write_tensors
    from shapegen_organs.population import read_card
    from shapegen_plugins.organ_network import FORMAT

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("population", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = process_time()
    points = clouds(options.population)
    kept = len(points) * 4 // 5
    network, losses = train(points[:kept], steps=options.steps, seed=options.seed)
    card: dict[str, Any] = {
        "what": "features of liver shapes: points [b, n, 3] under the reference normalisation to [b, 32]",
        "made_by": f"shapegen {__version__}, python -m shapegen_organs.make_features",
        "trained_on": f"the first {kept} shapes of {options.population.name} and their smooth deformations",
        "population_sha256": sha256_file(options.population),
        "licence": read_card(options.population)["licence"],
        "seed": options.seed,
        "steps": options.steps,
        "loss": round(sum(losses[-50:]) / len(losses[-50:]), 3),
        "retrieval": {
            "trained": round(retrieval(network, points[:kept], seed=1), 3),
            "held_out": round(retrieval(network, points[kept:], seed=1), 3),
            "of": SHAPES * VERSIONS,
        },
        "limits": "knows synthetic livers; for comparing sets of livers, not for diagnosis or treatment",
    }
    write_tensors(options.out, network.state_dict(), {"format": FORMAT, "card": json.dumps(card, sort_keys=True)})
    size = options.out.stat().st_size / 1e6
    sys.stdout.write(f"{options.out}: {json.dumps(card)}, {size:.2f} MB, {process_time() - start:.0f} s\n")


if __name__ == "__main__":
    main()
