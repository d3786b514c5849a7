"""What every weight space must do. Fitted on four analytic shapes, with an INR of a few neurons."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.protocols import Log
from shapegen.testing.check import Subject, require
from shapegen.testing.killed import difference, folder, nothing, whole_and_resumed

if TYPE_CHECKING:
    from shapegen.data.population import Shape
    from shapegen.protocols import WeightSpace

SEED = 3


def codes_are_tokens(subject: Subject) -> None:
    """Codes of any shapes, also unseen ones, are finite float32 [n, tokens, width], and zero where padded."""
    import torch

    space = _fitted(subject)
    shapes = [*_shapes("train"), *_shapes("test")]
    codes = space.encode(shapes, seed=SEED, device="cpu")
    expected = (len(shapes), space.tokens, space.width)
    found = (tuple(space.mask.shape), space.mask.dtype)
    require(
        found == (expected[1:], torch.bool) and bool(space.mask.any()),
        f"after fit, `mask` of {subject} is {found}; expected a bool mask {expected[1:]} that is somewhere true",
    )
    require(
        tuple(codes.shape) == expected and codes.dtype == torch.float32 and bool(codes.isfinite().all()),
        f"{subject} encodes {len(shapes)} shapes as {codes.dtype} {tuple(codes.shape)}; expected finite float32 "
        f"{expected}",
    )
    rest = float(codes[:, ~space.mask].abs().sum())
    require(rest == 0, f"codes of {subject} are not zero where `mask` is False (sum {rest:.3g}); write zeros there")


def codes_are_standardised(subject: Subject) -> None:
    """Codes of the training shapes have about zero mean and unit variance, as generators and noise levels expect."""
    space = _fitted(subject)
    flat = space.encode(_shapes("train"), seed=SEED, device="cpu")[:, space.mask]
    mean, size = float(flat.mean().abs()), float(flat.square().mean().sqrt())
    require(
        mean < 1 and 0.2 < size < 5,
        f"training codes of {subject} have the mean {mean:.2g} and the root mean square {size:.2g}; expected about 0 "
        "and 1: divide by the training codes' own spread at the end of `fit`",
    )


def codes_tell_shapes_apart(subject: Subject) -> None:
    """Different shapes have different codes and weights: a space that collapsed can generate nothing but its mean."""
    space = _fitted(subject)
    codes = space.encode(_shapes("train"), seed=SEED, device="cpu")
    for what, rows in (("codes", codes), ("weights", space.decode(codes))):
        flat = rows.flatten(1)
        nearest = float((flat[:, None] - flat[None]).abs().amax(dim=-1)[~_diagonal(len(flat))].min())
        require(nearest > 1e-6, f"two of four different shapes have the same {what} in {subject}")


def decoding_gives_full_weights(subject: Subject) -> None:
    """Codes decode to the INR's full weight vectors [n, parameters], each from its own code alone."""
    import torch

    from shapegen.inr.layout import parameter_layout
    from shapegen.testing.tiny_inr import tiny_inr

    space, size = _fitted(subject), parameter_layout(tiny_inr()).size
    codes = torch.randn(3, space.tokens, space.width, generator=torch.Generator().manual_seed(0)) * space.mask
    weights = space.decode(codes)
    require(
        tuple(weights.shape) == (3, size) and bool(weights.isfinite().all()),
        f"{subject} decodes 3 codes to {tuple(weights.shape)}; expected finite (3, {size}), in the order of "
        "shapegen.inr.layout.parameter_layout",
    )
    alone = torch.cat([space.decode(codes[k : k + 1]) for k in range(3)])
    require(
        torch.allclose(weights, alone, rtol=1e-3, atol=1e-5),
        f"the weights that {subject} decodes depend on the other codes beside it",
    )


def encoding_changes_nothing(subject: Subject) -> None:
    """Encoding leaves the space as it is, and gives the same codes again under the same seed."""
    import torch

    space = _newly_fitted(subject)
    before = {name: value.clone() for name, value in space.state().items()}
    first, second = (space.encode(_shapes("test"), seed=SEED, device="cpu") for _ in range(2))
    wrong = difference(before, space.state())
    require(not wrong, f"`encode` of {subject} changed {wrong}; it has the space frozen")
    require(
        torch.equal(first, second),
        f"{subject} gave one shape two codes under one seed; seed a generator of its own in `encode`",
    )


def state_survives_a_file(subject: Subject) -> None:
    """The state comes back from safetensors with the same mask, codes and weights: later stages start from the file."""
    import torch
    from safetensors.torch import load, save

    space = _fitted(subject)
    other = _space(subject)
    other.load_state(load(save({name: value.contiguous() for name, value in space.state().items()})))
    require(
        torch.equal(other.mask, space.mask),
        f"`mask` of {subject} is another after `load_state`; tokens, width and mask must follow from the state",
    )
    first, second = (each.encode(_shapes("test"), seed=SEED, device="cpu") for each in (space, other))
    require(
        torch.equal(first, second) and torch.equal(space.decode(first), other.decode(first)),
        f"restored from its state, {subject} encodes or decodes otherwise; return all that they need from `state`",
    )


def fit_is_deterministic(subject: Subject) -> None:
    """A fit is decided by its seed, whatever else the process has drawn."""
    import torch

    first, second = _fitted(subject), _space(subject)
    torch.manual_seed(12345)
    with folder() as path:
        _fit(second, path, nothing)
    wrong = difference(first.state(), second.state())
    require(
        not wrong,
        f"two fits of {subject} under one seed differ in {wrong}; seed generators with "
        "shapegen.store.derived_seed(seed, ..., step), and draw from nothing else",
    )


def fit_can_be_resumed(subject: Subject) -> None:
    """A fit that was killed and taken up again gives what it would have given uninterrupted."""
    wrong = difference(*whole_and_resumed(lambda: _space(subject), _fit))
    require(
        not wrong,
        f"taken up from its checkpoint, a fit of {subject} ends with another {wrong}; seed each step's generator with "
        "shapegen.store.derived_seed(seed, ..., step), and keep parameters and optimiser with shapegen.checkpoint",
    )


def steps_are_known(subject: Subject) -> None:
    """`steps` is known before the fit, for the progress bar."""
    steps = _space(subject).steps
    require(
        isinstance(steps, int) and steps >= 1,
        f"`steps` of {subject} is {steps!r} before the fit; expected a whole number from 1",
    )


def _space(subject: Subject) -> WeightSpace:
    from shapegen.testing.tiny_inr import tiny_inr

    space: WeightSpace = subject.build(inr=tiny_inr())
    return space


def _fit(space: Any, checkpoint: Path, log: Log) -> None:
    space.fit(_shapes("train"), seed=SEED, device="cpu", checkpoint=checkpoint, log=log)


@functools.lru_cache(maxsize=1)
def _fitted(subject: Subject) -> WeightSpace:
    """Return a fitted space, for checks that only look at it."""
    return _newly_fitted(subject)


def _newly_fitted(subject: Subject) -> WeightSpace:
    space = _space(subject)
    with folder() as path:
        _fit(space, path, nothing)
    return space


def _shapes(split: Any) -> tuple[Shape, ...]:
    from shapegen.testing.shapes import population

    return population().of(split)[:4]


def _diagonal(size: int) -> Any:
    import torch

    return torch.eye(size, dtype=torch.bool)


CHECKS = (
    steps_are_known,
    codes_are_tokens,
    codes_are_standardised,
    codes_tell_shapes_apart,
    decoding_gives_full_weights,
    encoding_changes_nothing,
    state_survives_a_file,
    fit_is_deterministic,
    fit_can_be_resumed,
)
