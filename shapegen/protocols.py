"""What each kind of plugin builds. Typing only: implementations need not inherit from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from shapegen.condition_protocols import (  # noqa: F401  (public here)
    FitsInputs,
    FromAttributes,
    FromShapes,
    GivesTargets,
    GuidesDraws,
    ReadsText,
    TakesConditions,
    ThinsInputs,
)
from shapegen.inr_protocols import ExactInr, ManyInr, StandaloneInr  # noqa: F401  (public here)

if TYPE_CHECKING:
    from torch import Tensor

    from shapegen.curation.raw import RawShape
    from shapegen.data.nifti import LabelMap
    from shapegen.data.population import Shape
    from shapegen.evaluation import GenerationSets, ReconstructionPair
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
    (`shapegen.pretrained`), `thresholds: Mapping[str, float]`, its own limits of the checks of
    `shapegen.curation`, by their names, and `quality: Path | None`, the score of its shapes
    (`shapegen.quality.model`).
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


@runtime_checkable
class FitsInTeam(Protocol):
    """A weight space or a generator whose `fit` shares its work between the processes of a `shapegen.team`.

    All of them call it at once with equal arguments; what the leader's has in the end counts. Any other is fitted by
    the leader while the others wait.
    """

    fits_in_team: Literal[True]


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
