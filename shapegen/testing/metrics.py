"""What every metric must do. Measured on analytic shapes: one pair, or three sets of eight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shapegen.testing.check import DoesNotApplyError, Subject, require


def says_what_it_applies_to(subject: Subject) -> None:
    """`applies_to` and `target` say when it is called, and which way its numbers are better."""
    metric = subject.build()
    applies = getattr(metric, "applies_to", None)
    require(
        applies in ("reconstruction", "generation"),
        f"`applies_to` of {subject} is {applies!r}; expected 'reconstruction' or 'generation'",
    )
    target = getattr(metric, "target", None)
    require(isinstance(target, Mapping), f"`target` of {subject} is {target!r}; expected each number's direction")
    wrong = [
        name
        for name, best in (target or {}).items()
        if best not in ("high", "low") and not (isinstance(best, int | float) and math.isfinite(best))
    ]
    require(not wrong, f"`target` of {subject} has no direction for {wrong}; expected 'high', 'low' or the best value")


def numbers_are_finite(subject: Subject) -> None:
    """On ordinary shapes it returns finite floats under the names that `target` has: others are lost in the tables."""
    metric = subject.build()
    found = metric(_data(metric))
    require(isinstance(found, dict) and bool(found), f"{subject} returned {found!r}; expected a dict of numbers")
    wrong = {n: v for n, v in found.items() if type(v) is not float or not math.isfinite(v) or type(n) is not str}
    require(not wrong, f"{subject} returned {wrong} for ordinary shapes; expected finite Python floats: use float()")
    missing = sorted(set(metric.target) - set(found))
    require(not missing, f"`target` of {subject} names {missing}, which it does not return; it returns {sorted(found)}")


def numbers_are_repeatable(subject: Subject) -> None:
    """The same shapes give the same numbers, from one build and from another: a report is made again at any time."""
    first, second = subject.build(), subject.build(seed=1)
    rows = [first(_data(first)), first(_data(first)), second(_data(second))]
    wrong = _apart(rows[0], rows[1]) | _apart(rows[0], rows[2])
    require(not wrong, f"{subject} gave other numbers to the same shapes: {wrong}; seed what is random by a constant")


def order_does_not_matter(subject: Subject) -> None:
    """A generation metric is one of sets: the order of the shapes changes nothing."""
    from shapegen.testing.shapes import sets

    metric = subject.build()
    if metric.applies_to != "generation":
        raise DoesNotApplyError("it is no metric of generation")
    wrong = _apart(metric(sets()), metric(sets(shuffled=True)), relative=1e-6)
    require(
        not wrong, f"with its shapes in another order {subject} gives other numbers: {wrong}; sort what it draws by"
    )


def identical_shapes_give_the_declared_numbers(subject: Subject) -> None:
    """Where it is known what a metric gives for d(A, A), it is declared as `identical`, and holds.

    For reconstruction the prediction is the truth, for generation the samples are the references themselves.
    """
    metric = subject.build()
    declared: Mapping[str, float] = getattr(metric, "identical", {})
    found = metric(_data(metric, identical=True))
    missing = sorted(set(declared) - set(found))
    require(not missing, f"`identical` of {subject} names {missing}, which it does not return; it does {sorted(found)}")
    wrong = {n: found[n] for n, v in declared.items() if not math.isclose(found[n], v, rel_tol=1e-6, abs_tol=1e-6)}
    require(not wrong, f"for identical shapes {subject} gives {wrong}; it declares {dict(declared)}")


def truth_is_best(subject: Subject) -> None:
    """A reconstruction metric prefers the truth to a smaller, moved shape, in the direction that `target` says."""
    from shapegen.testing.shapes import pair

    metric = subject.build()
    if metric.applies_to != "reconstruction":
        raise DoesNotApplyError("it is no metric of reconstruction")
    best, worse = metric(pair()), metric(pair(prediction="moved"))
    wrong = {
        name: (worse[name], best[name])
        for name, target in metric.target.items()
        if not _cost(best[name], target) < _cost(worse[name], target)
    }
    require(not wrong, f"{subject} prefers a wrong shape to the truth (wrong, true): {wrong}; see `target`")


def empty_prediction_is_survived(subject: Subject) -> None:
    """A reconstruction metric has an answer for a prediction without faces, perhaps infinite: it must not raise."""
    from shapegen.testing.shapes import pair

    metric = subject.build()
    if metric.applies_to != "reconstruction":
        raise DoesNotApplyError("it is no metric of reconstruction")
    found = metric(pair(prediction="empty"))
    missing = sorted(set(metric.target) - set(found))
    require(not missing, f"for an empty prediction {subject} leaves out {missing}; give the worst value, or infinity")


def resampling_moves_its_numbers(subject: Subject) -> None:
    """`resampled`, if there is one, gives numbers that it also returns, finite, and decided by the generator alone."""
    import numpy as np

    metric = subject.build()
    if metric.applies_to != "generation" or not hasattr(metric, "resampled"):
        raise DoesNotApplyError("it has no `resampled`: its intervals are those of the shapes")
    whole = set(metric(_data(metric)))
    rows = [metric.resampled(_data(metric), np.random.default_rng(seed)) for seed in (0, 0, 1, 2)]
    unknown = sorted({name for row in rows for name in row} - whole)
    require(not unknown, f"`resampled` of {subject} returns {unknown}, which the metric itself does not")
    wrong = {name: value for row in rows for name, value in row.items() if not math.isfinite(value)}
    require(not wrong, f"`resampled` of {subject} returned {wrong}; expected finite numbers")
    require(not _apart(rows[0], rows[1]), f"`resampled` of {subject} draws from something but the given generator")
    require(rows[0] != rows[2] or rows[0] != rows[3], f"`resampled` of {subject} never moves; draw with the generator")


def _data(metric: Any, *, identical: bool = False) -> Any:
    from shapegen.testing.shapes import pair, sets

    if metric.applies_to == "reconstruction":
        return pair(prediction="same" if identical else "moved")
    return sets(generated="reference") if identical else sets()


def _apart(first: Mapping[str, float], second: Mapping[str, float], *, relative: float = 1e-9) -> dict[str, Any]:
    """Return the numbers that differ, with both values."""
    return {
        name: (first.get(name), second.get(name))
        for name in sorted({*first, *second})
        if name not in first
        or name not in second
        or not math.isclose(first[name], second[name], rel_tol=relative, abs_tol=1e-9)
    }


def _cost(value: float, target: Any) -> float:
    return value if target == "low" else -value if target == "high" else abs(value - target)


CHECKS = (
    says_what_it_applies_to,
    numbers_are_finite,
    numbers_are_repeatable,
    order_does_not_matter,
    identical_shapes_give_the_declared_numbers,
    truth_is_best,
    empty_prediction_is_survived,
    resampling_moves_its_numbers,
)
