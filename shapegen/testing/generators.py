"""What every generator of latents must do. Fitted on a few synthetic latents, some of whose entries are padding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shapegen.protocols import Log
from shapegen.testing.check import NonconformingError, Subject, require
from shapegen.testing.killed import difference, folder, nothing, whole_and_resumed

if TYPE_CHECKING:
    from torch import Tensor

SEED = 4


class Latents(NamedTuple):
    """Training rows [n, tokens, width], validation rows, and the mask [tokens, width]."""

    train: Tensor
    validation: Tensor
    mask: Tensor


def samples_are_latents(subject: Subject) -> None:
    """Samples are finite float32 latents [count, tokens, width] on the CPU, of the shape of the training rows."""
    import torch

    generator, latents = _fitted(subject)
    for count in (1, 5):
        x = generator.sample(count, seed=1)
        found, expected = (tuple(x.shape), x.dtype, x.device.type), ((count, *latents.mask.shape), torch.float32, "cpu")
        require(found == expected, f"sample({count}) of {subject} gave {found}; expected {expected}")
        require(bool(x.isfinite().all()), f"sample({count}) of {subject} gave infinite or NaN values")


def padding_is_zero(subject: Subject) -> None:
    """Samples are zero where the mask is False, as codes are: what stands there would be decoded."""
    generator, latents = _fitted(subject)
    rest = float(generator.sample(4, seed=1)[:, ~latents.mask].abs().sum())
    require(rest == 0, f"samples of {subject} are not zero where the mask is False (sum {rest:.3g}); write zeros there")


def rows_depend_on_seed_and_number(subject: Subject) -> None:
    """Row i depends on (seed, i) alone: more samples add to the same first ones, and another seed gives others."""
    import torch

    generator, _ = _fitted(subject)
    few, many, other = generator.sample(3, seed=5), generator.sample(7, seed=5), generator.sample(3, seed=6)
    require(
        torch.allclose(few, many[:3], rtol=1e-3, atol=1e-4),
        f"the first 3 rows of {subject} are other ones when 7 are drawn; draw row i with a generator seeded by "
        "shapegen.store.derived_seed(seed, ..., i)",
    )
    require(not torch.equal(few, other), f"two seeds give {subject} the same samples; use `seed` in `sample`")
    require(len(many.flatten(1).unique(dim=0)) > 1, f"all samples of {subject} are equal; let row i depend on i")


def fit_is_deterministic(subject: Subject) -> None:
    """A fit is decided by its seed, whatever else the process has drawn."""
    import torch

    first, _ = _fitted(subject)
    second, latents = _built(subject)
    torch.manual_seed(12345)
    with folder() as path:
        _fit(second, latents, path, nothing)
    wrong = difference(first.state(), second.state())
    require(
        not wrong, f"two fits of {subject} under one seed differ in {wrong}; draw from generators seeded by `seed` only"
    )


def fit_can_be_resumed(subject: Subject) -> None:
    """A fit that was killed and taken up again gives the same generator."""
    latents = _built(subject)[1]
    wrong = difference(*whole_and_resumed(lambda: _built(subject)[0], lambda g, path, log: _fit(g, latents, path, log)))
    require(
        not wrong,
        f"taken up from its checkpoint, a fit of {subject} ends with another {wrong}; seed each step's generator with "
        "shapegen.store.derived_seed(seed, ..., step), and keep parameters and optimiser with shapegen.checkpoint",
    )


def state_survives_a_file(subject: Subject) -> None:
    """The state comes back from safetensors with the same samples: `sample` runs in another process than `train`."""
    import torch
    from safetensors.torch import load, save

    generator, _ = _fitted(subject)
    other, _ = _built(subject)
    other.load_state(load(save({name: value.contiguous() for name, value in generator.state().items()})))
    require(
        torch.equal(other.sample(4, seed=3), generator.sample(4, seed=3)),
        f"restored from its state, {subject} draws other samples; return all that `sample` needs from `state`",
    )


def facts_are_plain_json(subject: Subject) -> None:
    """What `fit` returns goes into `train.json`: plain JSON, without NaN."""
    generator, latents = _built(subject)
    with folder() as path:
        facts = _fit(generator, latents, path, nothing)
    require(isinstance(facts, dict), f"`fit` of {subject} returned {type(facts).__name__}; expected a dict of facts")
    try:
        again = json.loads(json.dumps(facts, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise NonconformingError(
            f"what `fit` of {subject} returned is not plain JSON: {error}; turn tensors and arrays into numbers"
        ) from error
    require(set(again) == set(facts), f"names of facts of {subject} are no texts; use texts")


def progress_keeps_to_its_steps(subject: Subject) -> None:
    """`steps` is known before the fit, and progress counts no further: the bar would run past its end."""
    generator, latents = _built(subject)
    steps, done = generator.steps, 0

    def advance(number: int) -> None:
        nonlocal done
        done += number

    with folder() as path:
        _fit(generator, latents, path, nothing, progress=advance)
    require(isinstance(steps, int) and steps >= 1, f"`steps` of {subject} is {steps!r}; expected a whole number from 1")
    require(done <= steps, f"`fit` of {subject} reported {done} steps to `progress`; expected at most its {steps}")


def validation_may_be_empty(subject: Subject) -> None:
    """Without validation rows it learns too, or says with a ConfigError that it needs them."""
    from shapegen.errors import ConfigError

    generator, latents = _built(subject)
    with folder() as path:
        try:
            _fit(generator, latents._replace(validation=latents.validation[:0]), path, nothing)
        except ConfigError:
            return
    require(bool(generator.sample(2, seed=0).isfinite().all()), f"{subject} without validation rows draws no numbers")


def _built(subject: Subject) -> tuple[Any, Latents]:
    """Return the generator, attached to a run if it is made of parts of one, and what it is to learn from."""
    from shapegen.protocols import UsesRun

    generator = subject.build()
    if not isinstance(generator, UsesRun):
        return generator, _synthetic()
    from shapegen.testing.fitted_run import fitted_run

    run, latents = fitted_run()
    generator.attach(run)
    return generator, Latents(latents.of("train"), latents.of("validation"), latents.layout.mask)


def _synthetic() -> Latents:
    import torch

    mask = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    x = torch.randn(24, 3, 3, generator=torch.Generator().manual_seed(0)) * mask
    return Latents(x[:18], x[18:], mask)


def _fit(generator: Any, latents: Latents, checkpoint: Path, log: Log, **told: Any) -> Any:
    told = {"note": lambda text: None, **told}
    return generator.fit(*latents, seed=SEED, checkpoint=checkpoint, log=log, **told)


def _fitted(subject: Subject) -> tuple[Any, Latents]:
    generator, latents = _built(subject)
    with folder() as path:
        _fit(generator, latents, path, nothing)
    return generator, latents


CHECKS = (
    samples_are_latents,
    padding_is_zero,
    rows_depend_on_seed_and_number,
    fit_is_deterministic,
    fit_can_be_resumed,
    state_survives_a_file,
    facts_are_plain_json,
    progress_keeps_to_its_steps,
    validation_may_be_empty,
)
