"""What each kind of plugin builds. Typing only: implementations need not inherit from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from shapegen.data.population import Shape
    from shapegen.evaluation import GenerationSets, ReconstructionPair
    from shapegen.geometry.surface import Surface

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
    """

    surface: Surface
    meta: Mapping[str, Any]


class Organ(Protocol):
    """A source of shapes. Files are read in parallel, so it must survive being sent to another process."""

    unit: Literal["mm"]
    volume_range_ml: tuple[float, float]
    notes: Sequence[str]

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


class Condition(Protocol):
    """Turns a raw input (a volume, a sentence, a partial scan) into tokens that a denoiser attends to."""

    def __call__(self, raw: Sequence[Any]) -> Tensor:
        """Return cond [b, tokens, width] for b raw inputs."""
        ...


class Metric(Protocol):
    """A measure.

    Attributes:
        applies_to: "reconstruction" (called once for each pair) or "generation" (called once for each set).
        target: for each number returned, which way is better: "high", "low", or the value that is best.
    """

    applies_to: Literal["reconstruction", "generation"]
    target: Mapping[str, Literal["high", "low"] | float]

    def __call__(self, data: GenerationSets | ReconstructionPair) -> dict[str, float]: ...
