"""What a noise process is: how data become noise, what the network learns of it, how an estimate is read from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from shapegen.errors import ConfigError

Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""A denoiser plugin's inner network: `(x[b, tokens, width], t[b], cond[b, c, width] | None) -> [b, tokens, width]`."""

PROCESSES = ("edm", "flow")


class Process(Protocol):
    """A noise process with its training target. Implementations: frozen dataclasses of numbers, pure methods.

    A *level* is the process's own measure of noise: sigma for EDM, t for flow matching. A *sigma* is always the
    standard deviation of noise added to unscaled data, x + sigma eps, so that one sampler serves every process.
    """

    @property
    def name(self) -> str:
        """The name that users write: one of `PROCESSES`."""
        ...

    def levels(self, u: Tensor) -> Tensor:
        """Return the quantiles of the training distribution of levels at probabilities u (0 to 1, any shape)."""
        ...

    def errors(
        self, network: Network, x: Tensor, *, noise: Tensor, level: Tensor, mask: Tensor, cond: Tensor | None = None
    ) -> Tensor:
        """Return the weighted squared errors [b], mean over the entries of the mask.

        Args:
            network: the inner network.
            x: clean data [b, tokens, width].
            noise: standard normal [b, tokens, width].
            level: [b].
            mask: bool [tokens, width]; False is padding, ignored.
            cond: condition tokens [b, c, width] or None.
        """
        ...

    def loss(
        self, network: Network, x: Tensor, mask: Tensor, generator: torch.Generator, cond: Tensor | None = None
    ) -> Tensor:
        """Return the scalar training loss of clean x [b, tokens, width]; levels and noise come from a CPU generator."""
        ...

    def denoise(self, network: Network, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        """Return the network's estimate of E[x0 | x0 + sigma eps = x], [b, tokens, width]; sigma is a number or [b]."""
        ...


def stratified(count: int, generator: torch.Generator) -> Tensor:
    """Draw u [count], float64, one in each of `count` equal parts of (0, 1), in random order.

    Each u alone is uniform, so the loss stays unbiased, at less variance than independent draws
    (low-discrepancy sampling, Kingma et al. 2021, appendix I.1).
    """
    order = torch.randperm(count, generator=generator)
    within = torch.rand(count, generator=generator, dtype=torch.float64)
    return (order + within) / count


def normal_quantile(u: Tensor) -> Tensor:
    """Return the standard normal quantiles of u, kept 1e-6 away from 0 and 1 so that they stay finite (|q| < 4.8)."""
    return torch.special.ndtri(u.double().clamp(1e-6, 1 - 1e-6))


def drawn(process: Process, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw levels [b] and noise [b, tokens, width] for a training step on x.

    Both are drawn on the CPU, so that one seed gives one training on every device.
    """
    level = process.levels(stratified(len(x), generator)).to(x.device, x.dtype)
    return level, torch.randn(x.shape, generator=generator).to(x.device, x.dtype)


def drawn_loss(
    process: Process, network: Network, x: Tensor, mask: Tensor, generator: torch.Generator, cond: Tensor | None
) -> Tensor:
    """Return the mean of `process.errors` under freshly drawn levels and noise; the body of every process's `loss`."""
    level, noise = drawn(process, x, generator)
    return process.errors(network, x, noise=noise, level=level, mask=mask, cond=cond).mean()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the means [b] of values [b, tokens, width] over the entries where the mask [tokens, width] is True."""
    return (values * mask).sum(dim=(1, 2)) / mask.sum()


def per_sample(value: float | Tensor, x: Tensor) -> Tensor:
    """Return a number or [b] as [b], in the type and on the device of x [b, ...]."""
    return torch.as_tensor(value, dtype=x.dtype, device=x.device).expand(len(x))


def build_process(name: str, options: Mapping[str, Any] | None = None) -> Process:
    """Return the process of that name.

    Args:
        name: one of `PROCESSES`.
        options: fields of `shapegen.diffusion.edm.EDM` or `shapegen.diffusion.flow.FlowMatching`.

    Raises:
        ConfigError: no such process, or no such option.
    """
    from shapegen.diffusion.edm import EDM
    from shapegen.diffusion.flow import FlowMatching

    classes: dict[str, Callable[..., Process]] = {"edm": EDM, "flow": FlowMatching}
    if name not in classes:
        raise ConfigError(f"diffusion.process: expected one of {', '.join(PROCESSES)}, got {name!r}")
    try:
        return classes[name](**(options or {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"diffusion process '{name}': {error}") from error
