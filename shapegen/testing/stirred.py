"""A denoiser after a few optimiser steps: many start with an output of zero, in which nothing would show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shapegen.testing.check import Subject

if TYPE_CHECKING:
    from torch import Tensor, nn

TOKENS, WIDTH = 5, 7


def stirred(subject: Subject) -> nn.Module:
    """Return the network after a few steps, in eval mode and without gradients."""
    return trained(subject)[0].requires_grad_(False)


def trained(subject: Subject) -> tuple[nn.Module, list[str]]:
    """Make a few optimiser steps on the engine's loss; return the network, and the parameters without a gradient.

    What a condition goes through has a gradient only where there is one, so it is given to a network that takes it.
    """
    import torch

    from shapegen.diffusion.process import build_process

    network = built(subject)
    conditioned = refusal(network) is None
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    mask, alive = torch.ones(TOKENS, WIDTH, dtype=torch.bool), set()
    for step in range(4):
        optimiser.zero_grad()
        x, t = draw(16, TOKENS, WIDTH, seed=step), torch.linspace(-1.6, 1.1, 16)
        loss = build_process("edm").loss(network, x, mask, torch.Generator().manual_seed(step))
        if conditioned:
            loss = loss + (network(x, t, draw(16, 3, WIDTH, seed=10 + step)) - x).square().mean()
        loss.backward()
        optimiser.step()
        if step >= 2:
            alive |= {n for n, p in network.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}
    return network.eval(), [n for n, p in network.named_parameters() if p.requires_grad and n not in alive]


def refusal(network: nn.Module) -> Exception | None:
    """Return what the network raises when it is given a condition; None if it takes one."""
    import torch

    try:
        network(draw(1, TOKENS, WIDTH), torch.zeros(1), draw(1, 2, WIDTH))
    except Exception as error:
        return error
    return None


def built(subject: Subject, *, tokens: int = TOKENS, width: int = WIDTH, seed: int = 0) -> nn.Module:
    """Build the network for latents of this size."""
    network: nn.Module = subject.build(seed=seed, tokens=tokens, width=width)
    return network


def draw(*shape: int, seed: int = 1) -> Tensor:
    """Draw standard normal numbers."""
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
