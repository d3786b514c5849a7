"""What each kind of plugin builds. Typing only: implementations need not inherit from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from shapegen.conditioning.population import AttributeTable
    from shapegen.conditioning.target import Target
    from shapegen.curation.raw import RawShape
    from shapegen.data.nifti import LabelMap
    from shapegen.data.population import Shape
    from shapegen.evaluation import GenerationSets, ReconstructionPair
    from shapegen.generator import Generator
    from shapegen.geometry.surface import Surface
    from shapegen.run import Run

Log = Callable[[int, Mapping[str, float]], None]
"""Called by loops as `log(step, losses)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One input that an organ found, not yet read.

    Args:
        id: unique, stable, made of the source's name and the file's stem: `lits-couinaud/LiTS-0`.
        group: the patient.
        path: the file.
        fingerprint: SHA-256 over the file's content and every setting that changes how it is read; keys caches.
        options: whatever `load` needs to read it (preset, labels, fixes); plain JSON.
    """

    id: str
    group: str
    path: Path
    fingerprint: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A read and cleaned item.

    Args:
        surface: closed, oriented outwards, one component, mm, RAS.
        meta: plain JSON: volume_ml, spacing, largest_component_share, what was repaired ("repairs": list of sentences).
        raw: the shape before cleaning, for the checks of `shapegen.curation`; None: they see the surface alone.
    """

    surface: Surface
    meta: Mapping[str, Any]
    raw: RawShape | None = None


class Organ(Protocol):
    """A source of shapes. Files are read in parallel, so it must survive being sent to another process.

    An organ may also have `pretrained: Path | None`, the folder of a generator that it brings along
    (`shapegen.pretrained`), and `thresholds: Mapping[str, float]`, its own limits of the checks of
    `shapegen.curation`, by their names.
    """

    unit: Literal["mm"]
    volume_range_ml: tuple[float, float]

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know of the last `scan`."""
        ...

    def scan(self, data: Sequence[str]) -> tuple[list[Item], list[dict[str, str]]]:
        """List the items of these `PATH[:PRESET]` sources (none: the embedded population), sorted by id,
        and `{"file", "reason"}` of what cannot be used.

        Raises:
            NoUsableDataError: a path does not exist or holds nothing readable.
        """
        ...

    def load(self, item: Item) -> Loaded:
        """Read and clean one item.

        Raises:
            UnusableItemError: this item cannot be used.
        """
        ...


@runtime_checkable
class HasParts(Protocol):
    """An organ that some label maps show as several parts that tile it.

    Attributes:
        parts: name of each part by its label, 1 to 255.
    """

    parts: Mapping[int, str]

    def part_labels(self, item: Item) -> LabelMap | None:
        """Return the label map of an item, mm RAS, in which its parts are labelled; None where they are not.

        Raises:
            UnusableItemError: the file cannot be read.
        """
        ...


@runtime_checkable
class WeightSpace(Protocol):
    """A space in which the weights of INRs are learned and generated.

    A code is what a denoiser sees of one shape: [tokens, width], of about zero mean and unit variance over the
    training shapes. Entries where `mask` is False are padding: zero.
    """

    tokens: int
    width: int
    mask: Tensor  # bool [tokens, width]
    steps: int  # that `fit` takes, for the progress bar

    def fit(self, shapes: Sequence[Shape], *, seed: int, device: str, checkpoint: Path, log: Log) -> None:
        """Learn the space from the training shapes, keeping progress in `checkpoint` and resuming from it."""
        ...

    def encode(self, shapes: Sequence[Shape], *, seed: int, device: str) -> Tensor:
        """Return codes [n, tokens, width] of any shapes, fitted with the space frozen."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """Return full INR weights [n, parameters] (in `shapegen.inr.layout`'s order) of codes [n, tokens, width]."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return everything that `load_state` needs to restore the fitted space."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None: ...


@runtime_checkable
class ExactInr(Protocol):
    """An INR (an `nn.Module`) whose weights follow from a surface directly. It is never fitted by gradient descent."""

    def weights_of(self, surface: Surface) -> Tensor:
        """Return the weights [parameters], on the CPU, of a closed, oriented surface in the canonical cube."""
        ...


@runtime_checkable
class StandaloneInr(Protocol):
    """An INR (an `nn.Module`) that can say how it is evaluated without shapegen; `shapegen export --weights` asks."""

    def standalone(self) -> str:
        """Return Python source that defines `field(weights, xyz)` with nothing but torch, which is imported as `torch`.

        `weights` maps the parameters' names, as `named_parameters()` gives them, to tensors; for points `xyz` [..., 3]
        in [-0.5, 0.5] it returns [...], what `forward` returns. Options are numbers in the text.
        """
        ...


class LatentGenerator(Protocol):
    """Draws new latents that are like the training shapes'.

    A latent x [tokens, width] is a shape's code with one more token, which carries the size
    (`shapegen.diffusion.latents`). Latents are standardised on the training rows as `diffusion.standardise` says; by
    default every entry has mean 0 and variance 1 there. Entries where `mask` is False are padding: zero.
    """

    @property
    def steps(self) -> int:
        """How many steps `fit` reports to `progress` at most."""
        ...

    def fit(
        self,
        x_train: Tensor,
        x_validation: Tensor,
        mask: Tensor,
        *,
        seed: int,
        checkpoint: Path,
        log: Log,
        device: str = "cpu",
        progress: Callable[[int], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> Mapping[str, Any]:
        """Learn from the training rows.

        Args:
            x_train: [n, tokens, width], float32, on the CPU, n >= 1.
            x_validation: [m, tokens, width], m >= 0: for stopping, and for choosing what is not given.
            mask: bool [tokens, width].
            seed: of everything random; a fit that is killed and made again gives the same generator.
            checkpoint: folder (it may not exist) for whatever lets a killed fit go on.
            log: a loop's losses, `log(step, {"loss": ...})`; what has no loop does not call it.
            device: torch's name of it.
            progress: called with the number of steps done since its last call.
            note: told in one line what the user should know.

        Returns:
            What there is to say about the fit, as plain JSON; it goes into `train.json`.
        """
        ...

    def sample(
        self, count: int, *, seed: int, device: str = "cpu", progress: Callable[[int], None] | None = None
    ) -> Tensor:
        """Return new latents [count, tokens, width], float32, on the CPU, zero where padded.

        Row i depends on (seed, i) alone, up to rounding: a larger count adds to the same first rows. `progress` is
        called with the number of rows done since its last call.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """Return everything that `load_state` needs to draw again, the mask included."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None: ...


@runtime_checkable
class UsesRun(Protocol):
    """A generator that is made of other parts of a run, as `diffusion` is of the denoiser."""

    def attach(self, run: Run) -> None:
        """Take what is needed from the run; called once, before anything else."""
        ...


@runtime_checkable
class StartsFrom(Protocol):
    """A weight space or a generator whose `fit` can go on from the state of another."""

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Let the next `fit` begin with this state, as `state` returns it, and keep its coordinates.

        Raises:
            ConfigError: it is the state of something built differently.
        """
        ...


class Condition(Protocol):
    """Turns a raw input (a volume, a sentence, a partial scan) into tokens that a denoiser attends to.

    It may also have `examples: Sequence[Any]`, at least three different raw inputs, small and synthetic:
    `shapegen.testing` checks it with these. One that learns is an `nn.Module`: it is trained with the denoiser and kept
    in the same file. What else it can do it shows by having the methods of `FromShapes`, `FitsInputs`, `ThinsInputs`,
    `ReadsText`, `FromAttributes`, `GivesTargets` or `GuidesDraws`.
    """

    def __call__(self, raw: Sequence[Any]) -> Tensor:
        """Return cond [b, tokens, width] for b raw inputs."""
        ...


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


class Metric(Protocol):
    """A measure.

    Attributes:
        applies_to: "reconstruction" (called once for each pair) or "generation" (called once for each set).
        target: for each number returned, which way is better: "high", "low", or the value that is best.

    It may also have `identical: Mapping[str, float]`: what it returns, as far as that is known exactly, where the
    prediction is the truth, or the generated shapes are the references themselves (`shapegen.testing` holds it to it).
    """

    applies_to: Literal["reconstruction", "generation"]
    target: Mapping[str, Literal["high", "low"] | float]

    def __call__(self, data: GenerationSets | ReconstructionPair) -> dict[str, float]: ...
