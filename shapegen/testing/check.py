"""What is checked and how: a subject (a plugin with options), a check, and a case, which is one of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shapegen.errors import MissingLibraryError

if TYPE_CHECKING:
    from shapegen.plugin import Config, Plugin


class NonconformingError(AssertionError):
    """A plugin does not do what its kind must do; the text says what was expected, found, and what to do."""


class NotCheckedError(Exception):
    """A check could not be made here, for lack of a library or of data; nothing is wrong with the plugin."""


class DoesNotApplyError(Exception):
    """A check is of something that the plugin does not offer, and need not."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A plugin with the options that it is checked with.

    Args:
        kind: a kind of `shapegen.hookspecs.KINDS`.
        plugin: what a hook yields.
        module: the module of its entry point; by default the one where `build` is.
        options: over those of the attribute `small` of its config class, if it has one.
        data: of an organ, the `PATH[:PRESET]` strings to scan; none for its embedded population.
    """

    kind: str
    plugin: Plugin
    module: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}/{self.plugin.name}"

    @property
    def values(self) -> dict[str, Any]:
        """Options for the checks: small, so that they are quick."""
        small = getattr(self.plugin.config, "small", None)
        return {**(small if isinstance(small, Mapping) else {}), **self.options}

    def config(self) -> Config:
        """Return the configuration for the checks."""
        return self.plugin.config(**self.values)

    def build(self, *, seed: int = 0, **arguments: Any) -> Any:
        """Build the thing under a seed of torch's random generator, as a run does."""
        import torch

        torch.manual_seed(seed)
        return self.plugin.build(self.config(), **arguments)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that every plugin of a kind must do.

    Args:
        name: unique within a kind.
        protects: one sentence: what goes wrong without it.
        run: raises `NonconformingError` if the subject does not do it.
    """

    name: str
    protects: str
    run: Callable[[Subject], None]

    @staticmethod
    def of(function: Callable[[Subject], None]) -> Check:
        """Make a check of a function: named as it is, protecting what its docstring's first sentence says."""
        text = " ".join((function.__doc__ or "").split("\n\n")[0].split())
        return Check(function.__name__.strip("_").replace("_", "-"), text, function)


@dataclass(frozen=True, slots=True)
class Case:
    """One check of one subject; calling it makes the check.

    Returns:
        Why it does not apply; empty where the subject passed it.

    Raises:
        NonconformingError: also where the plugin raised anything.
        NotCheckedError: an optional library, or data, is not there.
    """

    subject: Subject
    check: Check

    def __str__(self) -> str:
        return f"{self.subject}-{self.check.name}"

    def __call__(self) -> str:
        with _alone():
            try:
                self.check.run(self.subject)
            except DoesNotApplyError as reason:
                return str(reason)
            except (NonconformingError, NotCheckedError):
                raise
            except MissingLibraryError as error:
                raise NotCheckedError(str(error)) from error
            except Exception as error:
                text = " ".join(str(error).split())
                raise NonconformingError(
                    f"{self.subject} raised {type(error).__name__}: {text}; it was checked that: {self.check.protects}"
                ) from error
        return ""


def require(holds: bool, text: str) -> None:
    """Raise `NonconformingError` with this text unless something holds."""
    if not holds:
        raise NonconformingError(text)


@contextmanager
def _alone() -> Iterator[None]:
    """Compute on one thread, and leave torch's random generator and threads as they were."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
