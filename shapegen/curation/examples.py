"""Measured shapes with known classes, from which a classifier is fitted; a file of them holds numbers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.examine import checks
from shapegen.curation.triage import Measures
from shapegen.curation.verdicts import Verdict
from shapegen.errors import CorruptFileError
from shapegen.store import read_arrays, write_arrays

CLASSES: tuple[Verdict, ...] = ("ok", "cut", "require_edit", "nope")
"""`not_sure` is none of them: it is what is said where none of them is likely."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Measured shapes with known classes.

    Args:
        names: [d], of the measures.
        features: float32 [n, d]; NaN where a measure does not apply.
        labels: [n], places in `CLASSES`.
        groups: [n], equal for shapes made of one and the same organ.
        weights: [n].
    """

    names: tuple[str, ...]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def of(rows: Sequence[tuple[Measures, Verdict, str]], *, weight: float = 1.0) -> Examples:
        """Make examples of measures, class and group; those of another class than `CLASSES` are left out."""
        rows = [row for row in rows if row[1] in CLASSES]
        names = tuple(sorted({name for measures, _, _ in rows for name in flat(measures)}))
        groups = {group: number for number, group in enumerate(dict.fromkeys(group for _, _, group in rows))}
        return Examples(
            names,
            matrix([measures for measures, _, _ in rows], names),
            np.array([CLASSES.index(verdict) for _, verdict, _ in rows], dtype=np.int64),
            np.array([groups[group] for _, _, group in rows], dtype=np.int64),
            np.full(len(rows), weight, dtype=np.float32),
        )

    def joined(self, more: Examples) -> Examples:
        """Add examples, of other groups; measures that these do not know are left out."""
        if not len(more):
            return self
        places = [more.names.index(name) if name in more.names else -1 for name in self.names]
        padded = np.pad(more.features, [(0, 0), (0, 1)], constant_values=np.nan)
        return Examples(
            self.names,
            np.concatenate([self.features, padded[:, places]]),
            np.concatenate([self.labels, more.labels]),
            np.concatenate([self.groups, more.groups + int(self.groups.max(initial=-1)) + 1]),
            np.concatenate([self.weights, more.weights]),
        )

    def save(self, path: Path, *, card: Mapping[str, str]) -> None:
        """Write one safetensors file."""
        arrays: dict[str, NDArray[Any]] = {
            "features": self.features,
            "labels": self.labels,
            "groups": self.groups,
            "weights": self.weights,
        }
        write_arrays(path, arrays, {**card, "names": " ".join(self.names), "classes": " ".join(CLASSES)})

    @staticmethod
    def load(path: Path) -> Examples:
        """Read what `save` wrote.

        Raises:
            CorruptFileError: it is something else.
        """
        from safetensors import safe_open

        arrays = read_arrays(path)
        with safe_open(path, "numpy") as file:
            said: Mapping[str, str] = file.metadata() or {}
        names = tuple(said.get("names", "").split())
        if said.get("classes") != " ".join(CLASSES) or arrays.get("features", np.zeros((0, 0))).shape[1] != len(names):
            raise CorruptFileError(f"{path}: not examples of this version; make them again")
        return Examples(names, arrays["features"], arrays["labels"], arrays["groups"], arrays["weights"])


MOST_TIMES = 5.0


def flat(measures: Measures) -> dict[str, float]:
    """Return all measures of a shape by their own names, which begin with the check's, and of each class how many times
    the check that comes nearest to an objection is beyond its threshold (`objection-cut` and so on, at most 5): what
    thresholds know already need not be learned from examples."""
    found = {name: value for values in measures.values() for name, value in values.items()}
    for check in checks():
        if check.name in measures:
            name, value = f"objection-{check.verdict}", found[check.name]
            times = value / check.threshold if check.threshold > 0 else MOST_TIMES * (value > 0)
            found[name] = max(found.get(name, 0.0), min(times, MOST_TIMES))
    return found


def matrix(measures: Sequence[Measures], names: Sequence[str]) -> NDArray[np.float32]:
    """Return the measures [n, d] of shapes, in the order of names; NaN where one does not apply."""
    rows = [flat(each) for each in measures]
    table = [[row.get(name, np.nan) for name in names] for row in rows]
    return np.asarray(table, dtype=np.float32).reshape(len(rows), len(names))
