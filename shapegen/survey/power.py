"""How many readers and shapes a study needs: simulated studies, analysed as a real one would be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from shapegen.metrics.statistics import Interval, wilson_interval
from shapegen.store import derived_seed

STUDIES = 1000
TABLE_STUDIES = 400
READERS = (2, 3, 5, 8, 12)
ITEMS = (12, 25, 50, 75, 100)
ENOUGH = 0.8

SKILL, LEANING, STRIKING = 0.3, 0.3, 0.5
"""Standard deviations, in those of a reader's momentary noise: of readers' skill (their accuracies then differ by 5
percentage points), of their leaning to one answer, and of how striking shapes are to all readers alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A study that might be done.

    Args:
        readers: who see all shapes; two or more.
        real: real shapes.
        synthetic: synthetic ones.
        margin: of the equivalence test.
        accuracy: the mean accuracy that readers truly have; 0.5 if they cannot tell.
        seed: of the simulated studies.
    """

    readers: int
    real: int
    synthetic: int
    margin: float = 0.1
    accuracy: float = 0.5
    seed: int = 0


def power(plan: Plan, *, studies: int = STUDIES) -> Interval:
    """Return the share of simulated studies that show equivalence to chance, with its interval.

    Signal detection (Green and Swets 1966): to reader r, shape i of the kind s = +1 (synthetic) or -1 looks as
    synthetic as s d_r / 2 + b_i + e, and is called so above c_r. Skill d_r, leaning c_r and strikingness b_i are normal
    about d, 0 and 0 with the standard deviations above, e is standard normal; d is what gives the wanted accuracy.
    """
    from scipy.stats import norm

    from shapegen.survey.equivalence import equivalent

    rng = np.random.default_rng(derived_seed(plan.seed, "power", plan.readers, plan.real, plan.synthetic))
    synthetic = np.arange(plan.real + plan.synthetic) >= plan.real
    shape = (studies, plan.readers, 1)
    total = np.sqrt(1 + STRIKING**2 + LEANING**2 + SKILL**2 / 4)
    skill = 2 * norm.ppf(plan.accuracy) * total + SKILL * rng.standard_normal(shape)
    seen = np.where(synthetic, 0.5, -0.5) * skill
    seen += STRIKING * rng.standard_normal((studies, 1, len(synthetic)))
    seen += rng.standard_normal(seen.shape)
    called = (seen > LEANING * rng.standard_normal(shape)).astype(np.float64)
    return wilson_interval(int(equivalent(called, synthetic, plan.margin).sum()), studies)


def power_text(plan: Plan) -> Iterator[str]:
    """Say what one design can show."""
    if plan.readers == 1:
        yield "power: what one reader shows holds for that reader alone; take two or more"
        return
    found = power(plan)
    low, high = 0.5 - plan.margin, 0.5 + plan.margin
    truly = "cannot tell" if plan.accuracy == 0.5 else f"have an accuracy of {plan.accuracy:.0%}"
    yield (
        f"power: {found.value:.0%} ({found.low:.0%} to {found.high:.0%}) to show that the accuracy is within "
        f"{low:.0%} to {high:.0%}, if readers truly {truly} (readers: {plan.readers}; shapes: {plan.real} real, "
        f"{plan.synthetic} synthetic)"
    )
    if found.value < ENOUGH:
        yield (
            f"That is below {ENOUGH:.0%}: a study that shows nothing would be likely. Take more readers or shapes, or "
            "a wider --margin; `shapegen survey power` prints a table."
        )


def power_table(*, margin: float, accuracy: float, seed: int) -> Iterator[str]:
    """Say what designs with as many real as synthetic shapes can show, one line for each number of readers."""
    within = f"{0.5 - margin:.0%} to {0.5 + margin:.0%}"
    yield f"Chance to show that the accuracy is within {within}, if it truly is {accuracy:.0%}"
    yield "readers | " + "  ".join(f"{count:>3}+{count:<3}" for count in ITEMS) + "   real + synthetic shapes"
    first = Plan(readers=1, real=1, synthetic=1, margin=margin, accuracy=accuracy, seed=seed)
    for readers in READERS:
        cells = []
        for count in ITEMS:
            found = power(replace(first, readers=readers, real=count, synthetic=count), studies=TABLE_STUDIES)
            cells.append(f"{found.value:>6.0%} ")
        yield f"{readers:>7} | " + "  ".join(cells).rstrip()
    yield f"From {TABLE_STUDIES} simulated studies each, so off by up to 5 percentage points;"
    yield "readers' true accuracies differ by 5 percentage points (standard deviation)."
