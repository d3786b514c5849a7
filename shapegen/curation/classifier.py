"""How likely each class is, learned from damaged good shapes and from reviewers' decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.triage import Classifier, Measures
from shapegen.curation.verdicts import Verdict
from shapegen.errors import CorruptFileError
from shapegen.store import read_arrays, write_arrays

CLASSES: tuple[Verdict, ...] = ("ok", "cut", "require_edit", "nope")
"""`not_sure` is none of them: it is what is said where none of them is likely."""
FOLDS = 5
DECIDED = 3.0
"""Weight of a reviewer's decision: it speaks of the user's own data."""
GOOD = 0.5
"""Share of shapes that are `ok` before anything is known of them: 48 % in the published set, more in most others. There
are fewer among the examples, each of which was damaged in several ways."""


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


def flat(measures: Measures) -> dict[str, float]:
    """Return all measures of a shape by their own names, which begin with the check's."""
    return {name: value for values in measures.values() for name, value in values.items()}


def matrix(measures: Sequence[Measures], names: Sequence[str]) -> NDArray[np.float32]:
    """Return the measures [n, d] of shapes, in the order of names; NaN where one does not apply."""
    rows = [flat(each) for each in measures]
    table = [[row.get(name, np.nan) for name in names] for row in rows]
    return np.asarray(table, dtype=np.float32).reshape(len(rows), len(names))


@dataclass(slots=True, eq=False)
class TriageClassifier:
    """Gradient-boosted trees over the measures (scikit-learn), with probabilities calibrated by isotonic regression on
    organs that the trees did not see (Niculescu-Mizil and Caruana 2005). Fitted from its examples when first asked, in
    a few seconds, so that its file holds data only."""

    examples: Examples
    seed: int = 0
    _model: Any = field(default=None, init=False)

    def __call__(self, measures: Sequence[Measures]) -> list[dict[Verdict, float]]:
        """Return for each shape the probabilities of `CLASSES`."""
        from threadpoolctl import threadpool_limits

        if self._model is None:
            self._model = _fitted(self.examples, self.seed)
        with threadpool_limits(1, user_api="openmp"):
            probabilities = self._model.predict_proba(matrix(measures, self.examples.names))
        known = [CLASSES[label] for label in self._model.classes_]
        rows = [dict(zip(known, map(float, row), strict=True)) for row in probabilities]
        return [{verdict: row.get(verdict, 0.0) for verdict in CLASSES} for row in rows]


def _fitted(examples: Examples, seed: int) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedGroupKFold
    from threadpoolctl import threadpool_limits

    trees = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.08, max_leaf_nodes=15, l2_regularization=1.0, random_state=seed
    )
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(
        examples.features, examples.labels, examples.groups
    )
    good = examples.labels == CLASSES.index("ok")
    share = float(examples.weights[good].sum() / examples.weights.sum())
    weights = examples.weights * np.where(good, GOOD / max(share, 1e-9), (1 - GOOD) / max(1 - share, 1e-9))
    model = CalibratedClassifierCV(trees, method="isotonic", cv=list(folds), ensemble=True)
    # On small tables threads only wait for each other, on a busy machine for minutes.
    with threadpool_limits(1, user_api="openmp"):
        return model.fit(examples.features, examples.labels, sample_weight=weights)


def load_classifier(organ: Any, decided: Examples | None = None) -> Classifier | None:
    """Return the classifier of an organ that brings examples (attribute `triage`, a file), with a reviewer's decisions
    added; None if it has none."""
    path: Path | None = getattr(organ, "triage", None)
    if path is None or not path.is_file():
        return None
    examples = Examples.load(path)
    return TriageClassifier(examples.joined(decided) if decided is not None else examples)
