"""Does a denoiser that was trained with conditions obey them, by guidance alone?

    python benchmarks/guidance.py RUN [--weight 1.5 --weight 3] [--count 24] [--out FILE]

RUN is one whose denoiser was trained with `conditions: [attributes]`. Asked is one attribute at a time, for values in
the central 90 % of the training shapes, another one for each draw; draws are not moved to the nearest latent
afterwards, as `--condition` does. Reported for each weight of guidance: the rank correlation of asked and got, the
median absolute error in standard deviations of the training shapes, and the spread of the other attributes around
their regression on the one asked for, over that of draws without a condition (weight 0). Bootstrap intervals over
draws.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attributes import REST, TOGETHER, interval, rank, residual_spread, working
from machine import machine

from shapegen.api import open_run
from shapegen.conditioning.attributes import ATTRIBUTES
from shapegen.conditioning.population import attribute_table, measured_rows
from shapegen.diffusion.conditional import Guided
from shapegen.diffusion.generator import Diffusion
from shapegen.diffusion.latents import split
from shapegen.diffusion.sampling import sample
from shapegen.generator import load_generator
from shapegen.store import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--weight", type=float, action="append", default=[])
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/guidance.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = open_run(options.run)
    generator = load_generator(run, needed_by="sample")
    latents: Any = generator.latents
    if not isinstance(latents, Diffusion) or "attributes" not in latents.conditions:
        parser.error(f"{options.run}: its denoiser was not trained with `conditions: [attributes]`")
    network, table = latents.network, attribute_table(run, generator)
    places = 0.05 + 0.9 * (np.arange(options.count) + 0.5) / options.count

    def got(name: str, values: np.ndarray, weight: float) -> np.ndarray:
        """Return measured rows of one draw for each value asked for; draw i has the same noise in all calls."""
        given = [{name: ATTRIBUTES[name].natural(value)} for value in values]
        with torch.no_grad():
            cond = network.eval().tokens({"attributes": given}, len(given))
        chosen = latents.options
        x = sample(
            Guided(network, weight),
            latents.process,
            latents.mask,
            count=len(given),
            seed=0,
            sampler=chosen.sampler,
            steps=chosen.sampler_steps,
            sigma_min=chosen.sigma_min,
            sigma_max=chosen.sigma_max,
            cond=cond,
        )
        codes, log_scale = split(generator.layout, generator.scaler.restore(x))
        samples = generator.mesh(codes, log_scale.exp(), resolution=96, seed=0)
        return measured_rows(each.surface for each in samples)

    found: dict[str, dict] = {}
    free: dict[str, np.ndarray] = {}
    for weight in (0.0, *(options.weight or (1.0, 1.5, 3.0))):
        for name in TOGETHER:
            asked = np.array([table.quantile(name, place) for place in places])
            rows = got(name, asked, weight)
            pairs = np.stack([asked, working(rows, name)], axis=1)
            off = np.abs(pairs[:, 1] - pairs[:, 0]) / table.spread(name)
            rest = np.stack([working(rows, other) for other in REST if other != name], axis=1)
            spread = residual_spread(pairs[:, 1], rest)
            numbers = {
                "rank correlation": interval(pairs, rank),
                "error, standard deviations": interval(off, lambda values: float(np.median(values))),
                "spread of the rest": float(np.mean(spread / free.setdefault(name, spread))),
            }
            found.setdefault(f"{weight:g}", {})[name] = numbers
            print(f"weight {weight:g}, {name}:", numbers, flush=True)
    write_json(options.out, {"run": options.run.name, "machine": machine(), "by weight": found})


if __name__ == "__main__":
    main()
