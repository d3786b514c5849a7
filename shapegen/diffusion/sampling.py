"""Drawing new latents from a trained network: which sampler goes with which process, seeds, batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from shapegen.diffusion import samplers
from shapegen.diffusion.flow import FlowMatching
from shapegen.diffusion.process import Process
from shapegen.errors import ConfigError
from shapegen.store import derived_seed

Watch = Callable[[float, Tensor], None]
"""`(level, x[b, tokens, width])`: where the samples of a batch are, at sigma, or at the time of flow matching. A method
of second order asks twice at a level; the last time counts."""

TOGETHER = 20
"""Samples that are always drawn at once: the last digits of a matrix product change with its number of rows."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler as users choose it.

    Args:
        function: of `shapegen.diffusion.samplers`.
        over: "sigma": integrates any process over sigma; "time": flow matching only, over t.
        options: names and defaults of what can be set.
    """

    function: Callable[..., Tensor]
    over: Literal["sigma", "time"] = "sigma"
    options: Mapping[str, float] = field(default_factory=dict)


SAMPLERS: Mapping[str, Sampler] = {
    "ddim": Sampler(samplers.ddim, options={"eta": 0.0}),
    "heun": Sampler(
        samplers.heun, options={"churn": 0.0, "churn_min": 0.0, "churn_max": float("inf"), "churn_noise": 1.0}
    ),
    "dpmpp-2m": Sampler(samplers.dpmpp_2m),
    "euler": Sampler(samplers.euler, over="time"),
    "flow-heun": Sampler(samplers.flow_heun, over="time"),
}


def choose_sampler(name: str, process: str, *, options: Mapping[str, float] | None = None) -> Sampler:
    """Return the sampler of that name.

    Raises:
        ConfigError: no such sampler, not one for this process ("edm" or "flow"), or an option that it does not have.
    """
    usable = [other for other, sampler in SAMPLERS.items() if sampler.over == "sigma" or process == "flow"]
    if name not in SAMPLERS:
        raise ConfigError(f"diffusion.sampler: expected one of {', '.join(usable)}, got {name!r}")
    if name not in usable:
        raise ConfigError(
            f"diffusion.sampler: '{name}' goes along the time of flow matching, which process '{process}' has not; "
            f"use one of {', '.join(usable)}, or process 'flow'"
        )
    chosen = SAMPLERS[name]
    unknown = sorted(set(options or {}) - set(chosen.options))
    if unknown:
        raise ConfigError(
            f"sampler '{name}' has no option {', '.join(unknown)}; it has: {', '.join(chosen.options) or 'none'}"
        )
    return chosen


@torch.no_grad()
def sample(
    network: nn.Module,
    process: Process,
    mask: Tensor,
    *,
    count: int,
    seed: int,
    sampler: str = "heun",
    steps: int = 32,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    options: Mapping[str, float] | None = None,
    first: int = 0,
    together: int = TOGETHER,
    device: str = "cpu",
    cond: Tensor | None = None,
    progress: Callable[[int], None] | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """Draw latents.

    Sample i depends on (seed, i) alone: all its noise comes from a CPU generator of its own, and it is drawn in a batch
    of always the same size, what lacks being drawn and dropped. On another device it is the same up to rounding.

    Args:
        network: trained; set to eval mode.
        process: the one that it was trained with.
        mask: bool [tokens, width]; padding stays zero at every step.
        count: how many.
        seed: the run's.
        sampler: a name in `SAMPLERS`.
        steps: of the schedule; the samplers over sigma follow Karras et al.'s (rho = 7), those over time go evenly.
        sigma_min, sigma_max: its ends, for samplers over sigma.
        options: of the sampler: `eta` of ddim, `churn` of heun.
        first: number of the first sample.
        together: samples at once.
        device: torch's name of it.
        cond: condition tokens [count, c, width], one row for each sample, or None.
        progress: called with the number of samples done since its last call.
        watch: called whenever the network is asked, with the samples of one batch that are not dropped.

    Returns:
        Standardised latents [count, tokens, width], float32, on the CPU.

    Raises:
        ConfigError: the sampler does not exist or does not go with the process.
    """
    chosen = choose_sampler(sampler, process.name, options=options)
    network.to(device).eval()
    mask = mask.to(device)
    extra: dict[str, Any] = dict(options or {})
    if chosen.over == "time":
        levels, top = samplers.flow_times(steps), 1.0
    else:
        levels = samplers.karras_sigmas(steps, sigma_min=sigma_min, sigma_max=sigma_max)
        top = float(levels[0])
    done: list[Tensor] = [torch.zeros(0, *mask.shape)]
    for start in range(0, count, together):
        size = min(together, count - start)
        numbers = range(first + start, first + start + together)
        generators = [torch.Generator().manual_seed(derived_seed(seed, "sample", number)) for number in numbers]
        x = top * samplers.standard_normal((together, *mask.shape), generators).to(device) * mask
        rows = torch.arange(start, start + together).clamp(max=count - 1)
        x = _integrate(
            chosen,
            network,
            process,
            mask,
            x=x,
            levels=levels,
            cond=cond[rows].to(device) if cond is not None else None,
            generators=generators,
            extra=extra,
            watch=partial(_of_kept, watch, size) if watch else None,
        )
        done.append(x[:size].float().cpu())
        if progress:
            progress(size)
    return torch.cat(done)


def _of_kept(watch: Watch, size: int, level: float, x: Tensor) -> None:
    watch(level, x[:size])


def _integrate(
    chosen: Sampler,
    network: nn.Module,
    process: Process,
    mask: Tensor,
    *,
    x: Tensor,
    levels: Tensor,
    cond: Tensor | None,
    generators: list[torch.Generator],
    extra: Mapping[str, float],
    watch: Watch | None,
) -> Tensor:
    def seen(y: Tensor, level: float) -> Tensor:
        if watch:
            watch(level, y * mask)
        return y * mask

    if chosen.over == "time":
        if not isinstance(process, FlowMatching):
            raise ConfigError("samplers over time need the flow matching process")
        return chosen.function(lambda y, t: process.velocity(network, seen(y, t), t, cond) * mask, x, times=levels)
    noisy = {"generators": generators} if chosen.options else {}
    result = chosen.function(
        lambda y, sigma: process.denoise(network, seen(y, sigma), sigma, cond) * mask,
        x,
        sigmas=levels,
        **extra,
        **noisy,
    )
    return result * mask
