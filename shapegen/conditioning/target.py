"""What is aimed at: attributes in numbers, within what the data cover, and how exactly they are meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shapegen.conditioning.attributes import ATTRIBUTES
from shapegen.conditioning.population import AttributeTable
from shapegen.conditioning.wish import Wish
from shapegen.errors import ConditionValueError
from shapegen.store import derived_seed

EXACT = 0.02
"""Spread of what is asked in numbers, in standard deviations of the population: 0.5 % of a liver's volume."""
VAGUE = 0.25
"""The same of what is asked in words: from "large" to "very large" it is 0.8 of them."""
RARE = 1e-4
"""Probability below which a combination counts as one that the data do not have."""


@dataclass(frozen=True, slots=True)
class Target:
    """One attribute as it is aimed at, on its working scale (`shapegen.conditioning.attributes.Attribute.working`).

    Args:
        attribute: its name.
        value: aimed at.
        spread: standard deviation of what will do.
        vague: draws differ by that spread; else all aim at the same.
        asked: the value that was asked for; another one where the data do not reach it.
    """

    attribute: str
    value: float
    spread: float
    vague: bool = False
    asked: float | None = None

    @property
    def natural(self) -> float:
        """The value in the attribute's own unit."""
        return ATTRIBUTES[self.attribute].natural(self.value)


def targets_of(
    wishes: Sequence[Wish], table: AttributeTable, *, shape: Mapping[str, float] | None = None
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Turn wishes into targets.

    Args:
        wishes: as they were written.
        table: of the population.
        shape: attributes of the shape that changes are relative to, on the working scale.

    Returns:
        The targets, and a warning for each that the data do not reach: its target is the nearest value that they do.

    Raises:
        ConditionValueError: a change, and no shape to change.
    """
    found, warnings = [], []
    for wish in wishes:
        target, warning = within_range(_target(wish, table, shape), table)
        found.append(target)
        warnings += [warning] if warning else []
    if not warnings and (warning := _unseen(found, table)):
        warnings.append(warning)
    return tuple(found), tuple(warnings)


def varied(targets: Sequence[Target], seed: int, number: int) -> list[float]:
    """Return what draw `number` aims at [k]: the targets, vague ones perturbed by their spread; by (seed, number)."""
    noise = np.random.default_rng(derived_seed(seed, "condition", number)).standard_normal(len(targets))
    return [target.value + float(e) * target.spread * target.vague for target, e in zip(targets, noise, strict=True)]


def standard_target(attribute: str, z: float, table: AttributeTable, *, spread: float = VAGUE) -> Target:
    """Return the target at z standard deviations from the population's mean, as descriptions in words mean it.

    Args:
        attribute: its name.
        z: of a normal population.
        table: of the population; z is read as the quantile that it is of a normal one.
        spread: in standard deviations.
    """
    from scipy.stats import norm

    value = table.quantile(attribute, float(np.clip(norm.cdf(z), 0, 1)))
    return Target(attribute, value, spread * table.spread(attribute), vague=True)


def _target(wish: Wish, table: AttributeTable, shape: Mapping[str, float] | None) -> Target:
    attribute, spread = ATTRIBUTES[wish.attribute], table.spread(wish.attribute)
    if wish.quantile is not None:
        return Target(wish.attribute, table.quantile(wish.attribute, wish.quantile), VAGUE * spread, vague=True)
    if wish.value is not None:
        return Target(wish.attribute, attribute.working(wish.value), EXACT * spread)
    if shape is None or wish.factor is None:
        raise ConditionValueError(f"condition '{wish}': a change needs a shape to change")
    value = attribute.working(attribute.natural(shape[wish.attribute]) * wish.factor)
    return Target(wish.attribute, value, EXACT * spread)


def within_range(target: Target, table: AttributeTable) -> tuple[Target, str | None]:
    """Return the target moved into what the data cover, and what to say where it had to be."""
    attribute = ATTRIBUTES[target.attribute]
    low, high = table.range(target.attribute)
    if low <= target.value <= high:
        return target, None
    nearest = min(max(target.value, low), high)
    unit = f" {attribute.unit}" if attribute.unit else ""
    ends, asked = [f"{attribute.natural(end):.4g}" for end in (low, high)], f"{target.natural:.4g}"
    warning = (
        f"{target.attribute} = {asked}{unit} lies outside of what the data cover ({ends[0]} to {ends[1]}{unit}, "
        f"{len(table.values)} {table.source}); aimed at is the nearest, {attribute.natural(nearest):.4g}{unit}"
    )
    return replace(target, value=nearest, asked=target.value), warning


def _unseen(targets: Sequence[Target], table: AttributeTable) -> str | None:
    """Return what to say where each target is usual and all together are not: by their Mahalanobis distance."""
    from scipy.stats import chi2

    if len(targets) < 2:
        return None
    names = [target.attribute for target in targets]
    z = np.array(
        [(target.value - table.column(target.attribute).mean()) / table.spread(target.attribute) for target in targets]
    )
    distance = float(z @ np.linalg.solve(table.correlation(names), z))
    if chi2.sf(distance, len(z)) > RARE or chi2.sf(float(np.square(z).max()), 1) < RARE:
        return None
    return (
        f"each of {', '.join(names)} is usual and all together are not (Mahalanobis distance {distance**0.5:.1f}); "
        "aimed at is the nearest shape to all of it"
    )
