"""How likely each class is, learned from damaged good shapes and from reviewers' decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.curation.examples import CLASSES, Examples, matrix
from shapegen.curation.triage import Classifier, Measures
from shapegen.curation.verdicts import Verdict
from shapegen.team import cores

FOLDS = 5
TREES = 300
DECIDED = 3.0
"""Weight of a reviewer's decision: it speaks of the user's own data."""
PRIOR = (0.5, 0.2, 0.2, 0.1)
"""Shares of `CLASSES` before anything is known of a shape. Of the published set 48 % are `ok`, 44 % cut, the rest 8 %;
in most others fewer are cut. There are other shares among the examples, each of which was damaged in several ways."""
ABSENT = -1.0
"""What stands for a measure that does not apply; no other is as low."""
LEAST = 1e-3
"""Probability that trees are believed at least: none of 300 may have seen what comes."""


@dataclass(slots=True, eq=False)
class TriageClassifier:
    """Extremely randomised trees over the measures (Geurts et al., Machine Learning 2006), calibrated on organs that
    they did not see. Fitted from its examples when first asked, in a few seconds, so that its file holds data only."""

    examples: Examples
    seed: int = 0
    _model: _Model | None = field(default=None, init=False)

    def __call__(self, measures: Sequence[Measures]) -> list[dict[Verdict, float]]:
        """Return for each shape the probabilities of `CLASSES`."""
        if self._model is None:
            self._model = _fitted(self.examples, self.seed)
        found = self._model.probabilities(matrix(measures, self.examples.names))
        return [dict(zip(CLASSES, map(float, row), strict=True)) for row in found]


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """Trees of every fold, whose mean logarithms l of probabilities become softmax(scale * l + shift)."""

    trees: tuple[Any, ...]
    scale: float = 1.0
    shift: tuple[float, ...] = (0.0,) * len(CLASSES)

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return [n, 4]."""
        return _softmax(
            self.scale * np.mean([_logarithms(trees, features) for trees in self.trees], axis=0) + self.shift
        )


def _fitted(examples: Examples, seed: int) -> _Model:
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    weights = balanced(examples.labels, examples.weights)
    unseen, trees = np.zeros((len(examples), len(CLASSES))), []
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for learn, rest in folds.split(examples.features, examples.labels, examples.groups):
        model = ExtraTreesClassifier(TREES, min_samples_leaf=2, max_features=0.4, random_state=seed, n_jobs=cores())
        model.fit(_filled(examples.features[learn]), examples.labels[learn], sample_weight=weights[learn])
        # Any number of threads grow the same trees, but add up what these say in any order.
        trees.append(model.set_params(n_jobs=1))
        unseen[rest] = _logarithms(model, examples.features[rest])
    scale, *shift = _calibration(unseen, examples.labels, weights)
    return _Model(tuple(trees), scale, (0.0, *shift))


def balanced(labels: NDArray[np.int64], weights: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return weights [n] with which the classes have the shares of `PRIOR`; their mean is 1."""
    total = np.bincount(labels, weights, minlength=len(CLASSES))
    result = np.asarray(weights * (np.array(PRIOR) / np.maximum(total, 1e-9))[labels], dtype=np.float64)
    return result * (len(result) / result.sum())


def _calibration(
    logarithms: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[float, ...]:
    """Return the scale and the shifts (but the first) with the least weighted log loss: vector scaling (Guo et al.,
    ICML 2017) with one scale for all classes, since there are few examples."""
    from scipy.optimize import minimize

    rows, start = np.arange(len(labels)), np.array([1.0, 0.0, 0.0, 0.0])

    def loss(values: NDArray[np.float64]) -> float:
        found = _softmax(values[0] * logarithms + np.concatenate([[0.0], values[1:]]))
        # The square keeps classes without examples where they are.
        return float(-(weights * np.log(found[rows, labels])).mean() + 1e-3 * ((values - start) ** 2).sum())

    return tuple(float(value) for value in minimize(loss, start).x)


def _filled(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.nan_to_num(features, nan=ABSENT)


def _logarithms(trees: Any, features: NDArray[np.float32]) -> NDArray[np.float64]:
    found = np.zeros((len(features), len(CLASSES)))
    found[:, trees.classes_] = trees.predict_proba(_filled(features))
    return np.log(np.maximum(found, LEAST))


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def load_classifier(organ: Any, decided: Examples | None = None) -> Classifier | None:
    """Return the classifier of an organ that brings examples (attribute `triage`, a file), with a reviewer's decisions
    added; None if it has none."""
    path: Path | None = getattr(organ, "triage", None)
    if path is None or not path.is_file():
        return None
    examples = Examples.load(path)
    return TriageClassifier(examples.joined(decided) if decided is not None else examples)
