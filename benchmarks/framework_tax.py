"""What training and sampling cost beside a hand-written minimal loop over the same network, run in turn.

    python benchmarks/framework_tax.py [--denoiser transformer] [--steps 200] [--count 100] [--rounds 5]

The minimal loops are what one writes in a notebook: EDM's loss and preconditioning, AdamW, clipped gradients, averaged
weights, one learning rate; Heun's sampler on one batch of all samples. They have no checkpoints, no seed for each step
or sample, no held-out loss, no early stopping. shapegen's have all that; its held-out evaluations are timed apart,
since how often they happen is a setting. Latents are standard normal, of the default weight space's size.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from machine import keep, machine
from torch import Tensor, nn

from shapegen.config import DiffusionConfig
from shapegen.diffusion.edm import EDM
from shapegen.diffusion.sampling import sample
from shapegen.diffusion.settings import training_settings
from shapegen.diffusion.training import train
from shapegen.discovery import Catalog, discover

RESULTS = Path(__file__).parent / "results" / "framework_tax.json"
OPTIONS = DiffusionConfig()
ROWS, HELD_OUT, TOKENS, WIDTH = 160, 32, 17, 8


def built(catalog: Catalog, name: str) -> nn.Module:
    torch.manual_seed(0)
    plugin = catalog.find("denoiser", name).plugin
    network: nn.Module = plugin.build(plugin.config(), tokens=TOKENS, width=WIDTH)
    return network


def minimal_training(network: nn.Module, data: Tensor, steps: int) -> None:
    average = [parameter.detach().clone() for parameter in network.parameters()]
    optimiser = torch.optim.AdamW(network.parameters(), lr=OPTIONS.learning_rate, fused=True)
    network.train()
    for _ in range(steps):
        x = data[torch.randint(len(data), (OPTIONS.batch,))]
        sigma = torch.exp(-0.5 + 1.2 * torch.randn(len(x), 1, 1))
        noisy = x + sigma * torch.randn_like(x)
        total = (sigma**2 + 1).sqrt()
        inner = network(noisy / total, sigma.flatten().log() / 4, None)
        loss = ((inner - (x - noisy / total**2) * total / sigma) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(network.parameters()), 1 - OPTIONS.ema)


@torch.no_grad()
def minimal_sampling(network: nn.Module, count: int) -> Tensor:
    steps = torch.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), OPTIONS.sampler_steps) ** 7
    sigmas = torch.cat([steps, torch.zeros(1)])
    network.eval()

    def slope(x: Tensor, sigma: Tensor) -> Tensor:
        total = (sigma**2 + 1).sqrt()
        inner = network(x / total, (sigma.log() / 4).expand(len(x)), None)
        return (x - x / total**2 - sigma / total * inner) / sigma

    x = sigmas[0] * torch.randn(count, TOKENS, WIDTH)
    for high, low in pairwise(sigmas):
        first = slope(x, high)
        ahead = x + (low - high) * first
        x = ahead if low == 0 else x + (low - high) * (first + slope(ahead, low)) / 2
    return x


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--denoiser", default="transformer")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    catalog, mask = discover(), torch.ones(TOKENS, WIDTH, dtype=torch.bool)
    data = torch.randn(ROWS + HELD_OUT, TOKENS, WIDTH, generator=torch.Generator().manual_seed(0))
    trained = built(catalog, options.denoiser)

    def training(evaluate_every: int) -> None:
        settings = training_settings(
            OPTIONS.model_copy(update={"steps": options.steps, "patience": 10**6, "evaluate_every": evaluate_every})
        )
        with tempfile.TemporaryDirectory() as folder:
            train(
                built(catalog, options.denoiser),
                EDM(),
                data[:ROWS],
                data[ROWS:] if evaluate_every < options.steps else None,
                mask,
                settings=settings,
                seed=0,
                checkpoint=Path(folder),
                log=lambda step, losses: None,
                note=lambda text: None,
            )

    def drawing() -> None:
        sample(trained, EDM(), mask, count=options.count, seed=0, steps=OPTIONS.sampler_steps)

    works: dict[str, Callable[[], object]] = {
        "training": lambda: training(options.steps),
        "training with held-out losses": lambda: training(OPTIONS.evaluate_every),
        "minimal training": lambda: minimal_training(built(catalog, options.denoiser), data[:ROWS], options.steps),
        "sampling": drawing,
        "minimal sampling": lambda: minimal_sampling(trained, options.count),
    }
    for work in works.values():
        work()
    rounds = []
    for number in range(options.rounds):
        names = sorted(works, reverse=bool(number % 2))
        rounds.append({name: timed(works[name]) for name in names})
        print(number, {name: f"{rounds[-1][name]:.2f} s" for name in works})

    def ratio(ours: str, minimal: str) -> float:
        return statistics.median(done[ours] / done[minimal] for done in rounds)

    result = {
        "what": "shapegen's time over that of a minimal loop, medians of rounds run in turn, 1 thread",
        "denoiser": options.denoiser,
        "steps": options.steps,
        "count": options.count,
        "ratio_training": ratio("training", "minimal training"),
        "ratio_training_with_held_out_losses": ratio("training with held-out losses", "minimal training"),
        "ratio_sampling": ratio("sampling", "minimal sampling"),
        "rounds": rounds,
        "machine": machine(),
    }
    keep(options.out, result)


if __name__ == "__main__":
    main()
