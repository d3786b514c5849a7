"""What a condition can do beside giving tokens, each shown by having its method; part of `shapegen.protocols`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from shapegen.conditioning.population import AttributeTable
    from shapegen.conditioning.target import Target
    from shapegen.data.population import Shape
    from shapegen.generator import Generator
    from shapegen.protocols import Condition


@runtime_checkable
class FromShapes(Protocol):
    """A condition that a denoiser can be trained with: `conditions: [name]`."""

    def from_shapes(self, shapes: Sequence[Shape]) -> Sequence[Any]:
        """Return the raw input that describes each of these shapes."""
        ...


@runtime_checkable
class FitsInputs(Protocol):
    """A condition that needs to know all training inputs first, such as their mean and spread."""

    def fit(self, raw: Sequence[Any]) -> None:
        """Measure them and keep that in buffers; called once, before training."""
        ...


@runtime_checkable
class ThinsInputs(Protocol):
    """A condition whose inputs may say more or less: training shows it some that say less."""

    def thinned(self, raw: Any, generator: torch.Generator) -> Any:
        """Return a raw input that says a part of this one, drawn from the CPU generator."""
        ...


@runtime_checkable
class ReadsText(Protocol):
    """A condition that can be asked for on the command line, by its name: `--condition name=TEXT`.

    With the attribute `several = True` it may be asked for more than once; `parse` then gets a line for each time.
    """

    def parse(self, text: str) -> Any:
        """Return the raw input that a user means.

        Raises:
            ShapegenError: it cannot be used; the text says what was expected.
        """
        ...


@runtime_checkable
class FromAttributes(Protocol):
    """A condition that can say attributes, which users ask for one by one: `--condition volume=1800ml`."""

    def from_attributes(self, values: Mapping[str, float]) -> Any | None:
        """Return the raw input that says these attributes (names and units of
        `shapegen.metrics.morphometrics.UNITS`), or None where it knows none of them."""
        ...


@runtime_checkable
class GivesTargets(Protocol):
    """A condition that guides any generator, also one that was not trained with it, by attributes to aim at."""

    def targets(self, raw: Any, table: AttributeTable) -> Sequence[Target]:
        """Return what this raw input asks for in the population's attributes."""
        ...


@runtime_checkable
class GuidesDraws(Protocol):
    """A condition that guides any generator, also one that was not trained with it, in a way of its own."""

    def guided(
        self,
        raw: Any,
        x: Tensor,
        *,
        generator: Generator,
        table: AttributeTable,
        targets: Sequence[Target],
        seed: int,
    ) -> tuple[Tensor, Mapping[str, Any]]:
        """Return latents [n, tokens, width] near the draws x that agree with a raw input, and what there is to say
        about it as plain JSON, which goes into `samples.json`.

        Row i depends on (seed, i), x_i and the input alone. Attributes to aim at beside are met exactly afterwards, by
        the nearest latents that have them; so they should be near here already.

        Raises:
            ShapegenError: no shape of the generator agrees with it.
        """
        ...


@runtime_checkable
class TakesConditions(Protocol):
    """A generator that draws under conditions that it was trained with."""

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """They, by name."""
        ...

    def sample_given(
        self,
        given: Mapping[str, Any],
        count: int,
        *,
        seed: int,
        device: str = "cpu",
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Return latents as `LatentGenerator.sample` does, given one raw input for each condition that is named."""
        ...
