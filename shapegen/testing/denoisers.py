"""What every denoiser must do: `(x[b, tokens, width], t[b], cond | None) -> [b, tokens, width]`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from shapegen.testing.check import Subject, require
from shapegen.testing.stirred import TOKENS, WIDTH, built, draw, refusal, stirred, trained

if TYPE_CHECKING:
    from torch import Tensor, nn

SIZES = ((1, 1), (2, 3), (9, 8), (17, 5))
"""Tokens and width that any weight space may have."""


def any_size(subject: Subject) -> None:
    """It takes any number of tokens and any width, odd ones too: the weight space decides them, not the denoiser."""
    import torch

    for tokens, width in SIZES:
        network = built(subject, tokens=tokens, width=width)
        for batch in (1, 3):
            x = draw(batch, tokens, width)
            y = network(x, torch.linspace(-1.6, 1.1, batch), None)
            _require_like(y, x, f"{subject} for {tokens} tokens of width {width}")


def bfloat16(subject: Subject) -> None:
    """It computes in bfloat16 nearly what it computes in float32: training on a GPU may use either."""
    import torch

    network = stirred(subject)
    x, t = draw(3, TOKENS, WIDTH), torch.tensor([-1.0, 0.0, 1.0])
    exact = network(x, t, None)
    y = network.to(torch.bfloat16)(x.to(torch.bfloat16), t.to(torch.bfloat16), None)
    _require_like(y, x.to(torch.bfloat16), f"{subject} in bfloat16")
    error, size = float((y.float() - exact).abs().max()), float(exact.abs().max())
    require(
        error < 0.1 * size + 0.02,
        f"{subject} in bfloat16 is off by {error:.3g} where its output is up to {size:.3g}; compute what is delicate "
        "(frequencies of t, sums) in float32 and turn it back",
    )


def build_is_deterministic(subject: Subject) -> None:
    """The seed of the run decides its initial parameters, and nothing else does."""
    first, second, other = (built(subject, seed=seed) for seed in (0, 0, 1))
    same = _different(first, second)
    require(not same, f"two builds of {subject} under one seed differ in {same}; draw from torch's global generator")
    require(
        bool(_different(first, other)),
        f"builds of {subject} under two seeds are equal; draw initial values from torch's global generator",
    )


def gradient_reaches_every_parameter(subject: Subject) -> None:
    """Every parameter learns: one without a gradient is a mistake in the network's wiring."""
    _, dead = trained(subject)
    require(
        not dead,
        f"after two optimiser steps of {subject} these parameters still have no gradient: {_listed(dead)}; use them in "
        "forward, or make them buffers",
    )


def samples_do_not_see_one_another(subject: Subject) -> None:
    """A sample's output does not depend on the others of its batch: sample i of a run depends on (seed, i) alone."""
    import torch

    network = stirred(subject)
    x, t = draw(4, TOKENS, WIDTH), torch.linspace(-1, 1, 4)
    whole = network(x, t, None)
    changed = x.clone()
    changed[0] = 100.0
    for what, found, expected in (
        ("another sample of the batch changed", network(changed, t, None)[1:], whole[1:]),
        ("it is alone", network(x[2:3], t[2:3], None), whole[2:3]),
    ):
        require(
            torch.allclose(found, expected, rtol=1e-3, atol=1e-5),
            f"the output of {subject} for a sample moves by {float((found - expected).abs().max()):.3g} when {what}; "
            "use no batch norm and nothing else that mixes the first dimension",
        )


def noise_level_matters(subject: Subject) -> None:
    """The output depends on t at every noise level: without it the network cannot know how much noise to take away."""
    import torch

    network = stirred(subject)
    for process, levels in (("EDM", torch.linspace(-1.6, 1.1, 9)), ("flow matching", torch.linspace(0, 1, 9))):
        y = network(draw(1, TOKENS, WIDTH).expand(9, -1, -1), levels, None)
        least = float(((y[1:] - y[:-1]).abs().amax(dim=(1, 2)) / y.abs().max().clamp(min=1e-12)).min())
        require(
            least > 1e-4,
            f"between neighbouring noise levels of {process} the output of {subject} changes by {least:.2g} of its "
            "size; expected above 1e-4: look for a layer norm right after t, or for t that is rounded",
        )


def weights_survive_a_file(subject: Subject) -> None:
    """Its weights come back from safetensors with the same output: what is trained today is sampled tomorrow."""
    import torch
    from safetensors.torch import load, save

    network = stirred(subject)
    other = built(subject, seed=9).eval().requires_grad_(False)
    other.load_state_dict(load(save({name: value.contiguous() for name, value in network.state_dict().items()})))
    x, t = draw(2, TOKENS, WIDTH), torch.tensor([-0.5, 0.5])
    require(
        torch.equal(other(x, t, None), network(x, t, None)),
        f"{subject} with its own weights from a file gives another output; keep what it learns in parameters and "
        "registered buffers, and forward free of randomness in eval mode",
    )


def condition_matters_or_is_refused(subject: Subject) -> None:
    """A condition changes the output, or is refused with a ConfigError: never silently ignored."""
    import torch

    from shapegen.errors import ConfigError

    network = stirred(subject)
    refused = refusal(network)
    require(
        refused is None or isinstance(refused, ConfigError),
        f"given a condition [1, 2, {WIDTH}], {subject} raised {type(refused).__name__}: {refused}; a network that "
        "takes none refuses it with shapegen.errors.ConfigError",
    )
    if refused is not None:
        return
    x, t, cond = draw(2, TOKENS, WIDTH), torch.zeros(2), draw(2, 3, WIDTH, seed=5)
    given, other = network(x, t, cond), network(x, t, torch.stack([cond[0], -cond[1]]))
    change = float((other[1] - given[1]).abs().max())
    require(
        change > 1e-6,
        f"{subject} takes a condition, but another one changes nothing; attend to it, or refuse it with "
        "shapegen.errors.ConfigError",
    )
    require(
        torch.allclose(other[0], given[0], rtol=1e-3, atol=1e-5),
        f"in {subject} the condition of one sample changes the output of another; keep the first dimension apart",
    )


def _require_like(y: Any, x: Tensor, who: str) -> None:
    found = (tuple(getattr(y, "shape", ())), getattr(y, "dtype", type(y).__name__))
    require(found == (tuple(x.shape), x.dtype), f"{who} gave {found}; expected {(tuple(x.shape), x.dtype)}")
    require(bool(y.isfinite().all()), f"{who} gave infinite or NaN values; expected finite ones")


def _different(first: nn.Module, second: nn.Module) -> str:
    import torch

    other = second.state_dict()
    return _listed(name for name, value in first.state_dict().items() if not torch.equal(value, other[name]))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:5])


CHECKS = (
    any_size,
    bfloat16,
    build_is_deterministic,
    gradient_reaches_every_parameter,
    samples_do_not_see_one_another,
    noise_level_matters,
    weights_survive_a_file,
    condition_matters_or_is_refused,
)
