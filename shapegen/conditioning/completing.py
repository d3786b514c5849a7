"""Conditions beside a partial observation: what a completed organ shall also be like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shapegen.completion.complete import in_population_frame
from shapegen.conditioning.attributes import ATTRIBUTES
from shapegen.conditioning.measures import measured
from shapegen.conditioning.term import AttributeTerm
from shapegen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shapegen.completion.complete import Completion
    from shapegen.completion.posterior import Term
    from shapegen.completion.prior import Prior
    from shapegen.conditioning.ask import Aim
    from shapegen.generator import Generator

FAR = 0.25
"""Standard deviations of the population by which an attribute may miss before that is said."""


def condition_terms(generator: Generator, aim: Aim, *, count: int, seed: int) -> Callable[[Prior], Sequence[Term]]:
    """Return what `shapegen.completion.complete.complete` takes as `terms`.

    Raises:
        ConfigError: nothing that was asked for can be told by attributes.
    """
    if not aim.targets:
        raise ConfigError("a completion is guided by attributes, and the conditions name none; leave them out")

    def terms(prior: Prior) -> Sequence[Term]:
        return (AttributeTerm(generator, prior, aim.table, aim.targets, count=count + 1, seed=seed, estimate=True),)

    return terms


def conditions_met(found: Completion, aim: Aim) -> tuple[dict[str, Any], list[str]]:
    """Return for each attribute what was asked for and what came, and what to say of those that what was seen
    contradicts."""
    names = [target.attribute for target in aim.targets]
    values = np.array(
        [
            measured(in_population_frame(found.posterior, row, surface), names)
            for row, surface in enumerate((found.estimate, *found.draws))
            if surface is not None
        ]
    )
    facts, warnings = {}, list(aim.warnings)
    for target, column in zip(aim.targets, values.T, strict=True):
        attribute = ATTRIBUTES[target.attribute]
        facts[target.attribute] = {
            "asked": target.natural,
            "unit": attribute.unit,
            "estimate": attribute.natural(column[0]),
            "draws": [attribute.natural(value) for value in column[1:]],
        }
        off = abs(float(column[0]) - target.value) / aim.table.spread(target.attribute)
        if off > max(FAR, 2 * target.spread / aim.table.spread(target.attribute)):
            warnings.append(
                f"{target.attribute} = {target.natural:.4g} {attribute.unit}".rstrip()
                + f" does not go with what was seen: the most probable shape has {attribute.natural(column[0]):.4g}"
            )
    return facts, warnings
