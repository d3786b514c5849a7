"""Learns a score from examples, judged by folds of patients that had no part in what judges them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.quality.examples import Example
from shapegen.quality.kinds import family_of
from shapegen.quality.model import QualityModel, all_evidence
from shapegen.quality.network import train_network
from shapegen.quality.pose import Template
from shapegen.quality.reference import SUMMARY, Judge, Reference
from shapegen.quality.weigh import balanced, fit_weigher, platt
from shapegen.store import derived_seed

FOLDS = 5
SUMMARIES = len(SUMMARY) + 1
"""The judge's and the network's."""


def learn(examples: Sequence[Example], template: Template, *, card: Mapping[str, Any], seed: int = 0) -> QualityModel:
    """Learn a score.

    What is evidence about a shape comes from a reference and a network that have not seen its patient; the weights of
    the evidence are fitted to that, and the probabilities are calibrated (Platt 1999) on logits from weights that have
    not seen the patient either, nor the family of its damage: much of what is scored later is of kinds that nobody
    made.

    Args:
        examples: good shapes, and damaged copies of them or of others.
        template: with which they were measured.
        card: where they are from.
        seed: of the network and the folds.
    """
    good = np.array([each.good for each in examples])
    weights = balanced(good)
    folds = folds_of([each.group for each in examples], seed)
    evidence = _unseen_evidence(examples, good, weights, folds, seed)
    unseen = _unseen_logits([each.kind for each in examples], evidence, good, weights, folds)
    slope, shift = platt(unseen, good, weights)
    shapes = [each.measured for each in examples]
    return QualityModel(
        template,
        Judge.of(_reference(examples)),
        train_network(shapes, good, weights, seed=derived_seed(seed, "network")),
        fit_weigher(evidence, good, weights, summaries=SUMMARIES),
        slope,
        shift,
        card,
    )


def folds_of(groups: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return a fold [n] for each example; all of one patient are in one."""
    names = sorted(set(groups), key=lambda name: derived_seed(seed, "fold", name))
    number = {name: place % FOLDS for place, name in enumerate(names)}
    return np.array([number[group] for group in groups])


def _unseen_evidence(
    examples: Sequence[Example],
    good: NDArray[np.bool_],
    weights: NDArray[np.float64],
    folds: NDArray[np.int64],
    seed: int,
) -> NDArray[np.float64]:
    """Return evidence of each example from a reference and a network that have not seen its patient."""
    parts: dict[int, NDArray[np.float64]] = {}
    for fold in range(FOLDS):
        own = np.flatnonzero(folds == fold).tolist()
        rest = np.flatnonzero(folds != fold).tolist()
        judge = Judge.of(_reference([examples[k] for k in rest]))
        shapes = [examples[k].measured for k in rest]
        network = train_network(shapes, good[rest], weights[rest], seed=derived_seed(seed, "network", fold))
        found = all_evidence(judge, network, [examples[k].measured for k in own])
        parts |= dict(zip(own, found, strict=True))
    return np.stack([parts[k] for k in range(len(examples))])


def _unseen_logits(
    kinds: Sequence[str],
    evidence: NDArray[np.float64],
    good: NDArray[np.bool_],
    weights: NDArray[np.float64],
    folds: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the logit [n] of each example by weights that have seen neither its patient nor its family; of a good one
    the mean over the families that were left out."""
    family = np.array([family_of(kind) for kind in kinds])
    families = sorted(set(family[~good]))
    if len(families) < 2:  # nothing would be left to learn from
        families = [""]
    logits = np.zeros((len(families), len(kinds)))
    for fold, (row, left_out) in product(range(FOLDS), enumerate(families)):
        own, rest = folds == fold, (folds != fold) & (good | (family != left_out))
        weigher = fit_weigher(evidence[rest], good[rest], weights[rest], summaries=SUMMARIES)
        logits[row, own] = weigher.logit(evidence[own])
    found = logits.mean(axis=0)
    for row, left_out in enumerate(families):
        hit = ~good & (family == left_out)
        found[hit] = logits[row, hit]
    return found


def _reference(examples: Sequence[Example]) -> Reference:
    """Keep the good shapes, each as it is and as the way through a mask leaves it."""
    return Reference.of([each.measured for each in examples if each.good])
