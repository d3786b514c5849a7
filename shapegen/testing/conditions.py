"""What every condition must do: raw inputs to tokens [b, tokens, width]. It brings its own `examples` of inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shapegen.testing.check import Subject, require

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 7


def brings_examples(subject: Subject) -> None:
    """Its attribute `examples` holds at least three different raw inputs, with which the other checks are made."""
    examples = getattr(subject.build(width=WIDTH), "examples", None)
    found = "nothing" if examples is None else f"{len(examples)}"
    require(
        examples is not None and len(examples) >= 3,
        f"`examples` of {subject} holds {found}; expected at least three different raw inputs, small and synthetic",
    )


def tokens_are_as_wide_as_asked(subject: Subject) -> None:
    """Tokens are finite float32 [b, tokens, width] for any width and any number of inputs: a denoiser attends to them.

    The width is that of the latents, which the weight space decides.
    """
    import torch

    for width in (1, WIDTH):
        condition = subject.build(width=width)
        for count in (1, 3):
            tokens = condition(list(condition.examples)[:count])
            found = (tokens.ndim, tokens.shape[0], tokens.shape[-1], tokens.dtype)
            require(
                found == (3, count, width, torch.float32) and tokens.shape[1] >= 1 and bool(tokens.isfinite().all()),
                f"{subject} turns {count} inputs into {tokens.dtype} {tuple(tokens.shape)}; expected finite float32 "
                f"({count}, tokens, {width})",
            )


def answers_are_repeatable(subject: Subject) -> None:
    """The same input gives the same tokens, from the same build and from another under the same seed."""
    import torch

    (condition, tokens), (_, other) = _answered(subject), _answered(subject)
    again = condition(list(condition.examples))
    require(
        torch.equal(tokens, again) and torch.equal(tokens, other),
        f"{subject} gave one input two answers; leave out dropout, and draw initial values from torch's global "
        "generator only",
    )


def inputs_do_not_see_one_another(subject: Subject) -> None:
    """The tokens of an input do not depend on the others beside it."""
    import torch

    condition, tokens = _answered(subject)
    alone = torch.cat([condition([each]) for each in condition.examples])
    require(
        tokens.shape == alone.shape and torch.allclose(tokens, alone, rtol=1e-3, atol=1e-5),
        f"tokens of {subject} differ when an input stands alone; use no batch norm, and a fixed number of tokens",
    )


def different_inputs_differ(subject: Subject) -> None:
    """Different inputs give different tokens: a condition that says the same of all says nothing."""
    _, tokens = _answered(subject)
    same = [k for k in range(1, len(tokens)) if bool((tokens[k] - tokens[0]).abs().max() < 1e-6)]
    require(not same, f"{subject} gives the same tokens to examples 0 and {same}; use the input")


def _answered(subject: Subject) -> tuple[Any, Tensor]:
    condition = subject.build(width=WIDTH)
    tokens: Tensor = condition(list(condition.examples))
    return condition, tokens.detach()


CHECKS = (
    brings_examples,
    tokens_are_as_wide_as_asked,
    answers_are_repeatable,
    inputs_do_not_see_one_another,
    different_inputs_differ,
)
