"""What a study says: every number with its interval, from the answers and the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import NoUsableDataError
from shapegen.metrics.statistics import wilson_interval
from shapegen.store import derived_seed
from shapegen.survey.accuracy import averages, of_readers, roc_curve
from shapegen.survey.agreement import cohen_kappa, fleiss_kappa, kappa_interval, repeated_pairs
from shapegen.survey.answers import read_answers
from shapegen.survey.equivalence import equivalence_test
from shapegen.survey.relations import read_scores, relations
from shapegen.survey.responses import Item, Ratings, Response, join, ratings, read_items
from shapegen.survey.study import ANSWERS, load_study

DRAWS = 2000


def analyse_study(
    folder: Path, *, truth: Path | None = None, scores: Path | None = None, margin: float = 0.1, seed: int = 0
) -> dict[str, Any]:
    """Analyse the answers that are there, also while the study goes on.

    Readers count who have answered two real and two synthetic shapes; practice items never count, repeated ones only
    for the agreement of readers with themselves.

    Args:
        truth: where `truth.json` was kept; in the study if None.
        scores: CSV with the columns `id` and `score`: a quality score of samples or real shapes.
        margin: of the equivalence test.
        seed: of the resamples.

    Returns:
        JSON, except for `responses`, which hold all answers.

    Raises:
        RunFolderError: no study, no answers or no truth.
        CorruptFileError: a file is damaged, or answers and truth are of different studies.
        NoUsableDataError: no reader has answered enough.
        ConfigError: the file of scores has not these columns.
    """
    study = load_study(folder)
    items = read_items(study, truth)
    responses = join(study, items, read_answers(folder / ANSWERS))
    scored = read_scores(scores) if scores else {}
    proper = [item for item in items.values() if not item.practice]
    shown = [item for item in proper if item.kind != "near-copy"]
    readers = [reader.name for reader in study.readers]
    everybody = ratings(responses, readers, shown)
    enough = _enough(everybody)
    if not enough.any():
        raise NoUsableDataError(
            f"{folder}: no reader has answered two real and two synthetic shapes yet; wait for more answers"
        )
    counted = everybody.of(enough, slice(None))
    used = [name for name, is_used in zip(readers, enough, strict=True) if is_used]
    mine = [each for each in responses if each.reader in used and each.counts and each.showing != "practice"]
    rows = _item_rows(mine, proper, scored)
    return {
        "study": str(folder),
        "organ": study.organ,
        "items": dict(Counter(item.kind for item in proper)),
        "readers": _readers(counted, used, mine),
        "left_out": [name for name in readers if name not in used],
        "answers": int(np.isfinite(counted.called).sum()),
        "expected": len(shown) * len(readers),
        "averages": {
            name: found and found.to_json()
            for name, found in averages(counted, draws=DRAWS, seed=derived_seed(seed, "averages")).items()
        },
        "equivalence": equivalence_test(counted.called, counted.synthetic, margin),
        "roc": {name: roc_curve(counted.score[k], counted.synthetic) for k, name in enumerate(used)},
        "agreement": _agreement(counted, mine, used, seed),
        "near_copies": _near_copies(mine),
        "relations": relations(rows, seed),
        "reasons": _reasons(mine),
        "by_item": rows,
        "responses": responses,
    }


def _enough(given: Ratings) -> NDArray[np.bool_]:
    """Tell which readers have answered two shapes of each kind."""
    answered = np.isfinite(given.called)
    return (answered[:, given.synthetic].sum(axis=1) > 1) & (answered[:, ~given.synthetic].sum(axis=1) > 1)


def _readers(counted: Ratings, names: Sequence[str], mine: Sequence[Response]) -> list[dict[str, Any]]:
    values = of_readers(counted)
    right = counted.called == counted.synthetic
    rows = []
    for k, name in enumerate(names):
        answered = np.isfinite(counted.called[k])
        seconds = [each.answer.seconds for each in mine if each.reader == name]
        rows.append(
            {
                "reader": name,
                "answered": int(answered.sum()),
                "right": wilson_interval(int(right[k][answered].sum()), int(answered.sum())).to_json(),
                **{measure: float(value[k]) for measure, value in values.items()},
                "median_seconds": float(np.median(seconds)),
            }
        )
    return rows


def _agreement(counted: Ratings, mine: Sequence[Response], readers: Sequence[str], seed: int) -> dict[str, Any]:
    pairs: dict[str, list[tuple[bool, bool]]] = {name: [] for name in readers}
    first = {
        (each.reader, each.item.mesh): each.answer.choice == "synthetic" for each in mine if each.showing == "first"
    }
    for each in mine:
        if each.showing == "repeated" and (each.reader, each.item.mesh) in first:
            pairs[each.reader].append((first[each.reader, each.item.mesh], each.answer.choice == "synthetic"))

    def within(answers: NDArray[np.float64]) -> float | None:
        return cohen_kappa(*answers)

    together = repeated_pairs([pair for name in readers for pair in pairs[name]])
    between = kappa_interval(fleiss_kappa, counted.called, draws=DRAWS, seed=derived_seed(seed, "fleiss"))
    pooled = kappa_interval(within, together, draws=DRAWS, seed=derived_seed(seed, "cohen"))
    return {
        "fleiss": between and between.to_json(),
        "intra": pooled and pooled.to_json(),
        "pairs": together.shape[1],
        "same": int((together[0] == together[1]).sum()),
        "by_reader": {
            name: {"kappa": cohen_kappa(*repeated_pairs(pairs[name])), "pairs": len(pairs[name])} for name in readers
        },
    }


def _near_copies(mine: Sequence[Response]) -> dict[str, Any] | None:
    """Say how often near-copies, and beside them real and synthetic shapes, are called real."""
    called: dict[str, list[bool]] = {"near-copy": [], "real": [], "synthetic": []}
    for each in mine:
        if each.showing == "first":
            called[each.item.kind].append(each.answer.choice == "real")
    if not called["near-copy"]:
        return None
    return {
        kind: {**wilson_interval(sum(said), len(said)).to_json(), "n": len(said)}
        for kind, said in called.items()
        if said
    }


def _item_rows(mine: Sequence[Response], items: Sequence[Item], scores: Mapping[str, float]) -> list[dict[str, Any]]:
    by_item: dict[str, list[Response]] = {item.mesh: [] for item in items}
    for each in mine:
        if each.showing == "first":
            by_item[each.item.mesh].append(each)
    rows = []
    for item in sorted(items, key=lambda item: (item.kind, item.id)):
        given = [each.answer for each in by_item[item.mesh]]
        said = [answer.choice == "synthetic" for answer in given]
        signed = [answer.signed for answer in given]
        reasons = Counter(reason for answer in given for reason in answer.reasons)
        rows.append(
            {
                "id": item.id,
                "kind": item.kind,
                "answers": len(given),
                "called_synthetic": float(np.mean(said)) if given else None,
                "score": float(np.mean(signed)) if given else None,
                "median_seconds": float(np.median([answer.seconds for answer in given])) if given else None,
                "reasons": "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common()),
                "novelty": item.novelty,
                "quality": scores.get(item.id),
            }
        )
    return rows


def _reasons(mine: Sequence[Response]) -> list[dict[str, Any]]:
    """Count the reasons at first sight, by what was said and whether that was right."""
    counts: Counter[tuple[str, str, bool]] = Counter()
    for each in mine:
        if each.showing == "first" and each.item.kind != "near-copy":
            right = (each.answer.choice == "real") == (each.item.kind == "real")
            counts.update((reason, each.answer.choice, right) for reason in each.answer.reasons)
    names = sorted({reason for reason, _, _ in counts})
    return [
        {
            "reason": name,
            **{
                f"{choice}_{'right' if right else 'wrong'}": counts[name, choice, right]
                for choice in ("real", "synthetic")
                for right in (True, False)
            },
        }
        for name in names
    ]
