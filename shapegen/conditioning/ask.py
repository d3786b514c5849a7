"""From what users ask for to draws of a generator: attributes, and whatever other conditions plugins understand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shapegen.conditioning.draw import Conditioned, conditioned
from shapegen.conditioning.population import AttributeTable, attribute_table
from shapegen.conditioning.target import Target, targets_of
from shapegen.conditioning.wish import Wish, parse_wishes
from shapegen.config import Slot
from shapegen.errors import (
    ConditionValueError,
    ConfigError,
    ContradictoryConditionsError,
    PluginRaisedError,
    ShapegenError,
)
from shapegen.protocols import Condition, FromAttributes, GivesTargets, GuidesDraws, ReadsText, TakesConditions
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from torch import Tensor

    from shapegen.generator import Generator
    from shapegen.pretrained import Pretrained
    from shapegen.registry import Catalog
    from shapegen.run import Run


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for.

    Args:
        texts: as it was written.
        wishes: the attributes among it.
        others: what follows the names of condition plugins: `text="a small liver"` is {"text": ("a small liver",)}.
    """

    texts: tuple[str, ...]
    wishes: tuple[Wish, ...]
    others: Mapping[str, tuple[str, ...]]


def parse_request(texts: Sequence[str], catalog: Catalog) -> Request:
    """Read conditions: attributes by name, and others by the name of an installed condition plugin.

    Raises:
        ContradictoryConditionsError: attributes contradict each other.
        ConditionValueError, UnknownAttributeError, UnitError: as `shapegen.conditioning.wish.parse_wishes`.
    """
    plugins = tuple(dict.fromkeys(entry.name for entry in catalog.entries("condition") if entry.name != "attributes"))
    wishes: list[str] = []
    others: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, given = text.partition("=")
        if equals and name.strip() in plugins:
            others[name.strip()] = tuple(dict.fromkeys((*others.get(name.strip(), ()), given)))
        else:
            wishes.append(text)
    return Request(tuple(texts), parse_wishes(wishes, others=plugins), others)


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """What draws are guided by.

    Args:
        table: of the population.
        targets: attributes to aim at.
        given: raw inputs of conditions that the generator was trained with, by name.
        warnings: what the user should know.
        guides: conditions that guide draws in their own way, with their raw inputs, by name.
    """

    table: AttributeTable
    targets: tuple[Target, ...]
    given: Mapping[str, Any]
    warnings: tuple[str, ...]
    guides: Mapping[str, tuple[GuidesDraws, Any]] = field(default_factory=dict)


def aim_at(request: Request, run: Run, generator: Generator, pretrained: Pretrained | None = None) -> Aim:
    """Decide how a request is met: by conditions that the generator was trained with, and by attributes to aim at.

    Raises:
        ConfigError: a plugin's condition that the generator was not trained with and that names no attributes.
        PluginRaisedError: a condition's own code raised.
    """
    table = attribute_table(run, generator, pretrained)
    targets, warnings = targets_of(request.wishes, table)
    trained = trained_conditions(generator)
    given: dict[str, Any] = {}
    guides: dict[str, tuple[GuidesDraws, Any]] = {}
    for name, texts in request.others.items():
        condition = trained.get(name) or run.build("condition", Slot(name=name), width=generator.layout.width)
        raw = _asked(f"condition '{name}'", condition, texts)
        if name in trained:
            given[name] = raw
        named = {target.attribute for target in targets}
        if isinstance(condition, GivesTargets):
            # what is asked for in numbers counts more than what a sentence means
            targets += tuple(each for each in condition.targets(raw, table) if each.attribute not in named)
        if isinstance(condition, GuidesDraws):
            guides[name] = condition, raw
        elif not isinstance(condition, GivesTargets) and name not in trained:
            raise ConfigError(
                f"condition '{name}' guides only generators that were trained with it; this one was trained with "
                f"{', '.join(trained) or 'none'}: train one with `conditions: [{name}]`"
            )
    values = {target.attribute: target.natural for target in targets}
    for name, condition in trained.items():
        if name not in given and isinstance(condition, FromAttributes):
            raw = condition.from_attributes(values) if values else None
            given |= {} if raw is None else {name: raw}
    return Aim(table, targets, given, warnings, guides)


def _asked(label: str, condition: Condition, texts: Sequence[str]) -> Any:
    if len(texts) > 1 and not getattr(condition, "several", False):
        raise ContradictoryConditionsError(f"{label} is given {len(texts)} times; leave all but one of them out")
    text = "\n".join(texts)
    if not isinstance(condition, ReadsText):
        raise ConditionValueError(f"{label} cannot be written on the command line; it has no `parse`")
    try:
        return condition.parse(text)
    except (ShapegenError, OSError):
        raise
    except Exception as error:
        raise PluginRaisedError(label, f"reading '{text}'", error) from error


def trained_conditions(generator: Generator) -> Mapping[str, Condition]:
    """Return the conditions that a generator was trained with, by name."""
    latents = _latents(generator)
    return latents.conditions if isinstance(latents, TakesConditions) else {}


def _latents(generator: Generator) -> Any:
    return getattr(generator.latents, "chosen", None) or generator.latents


def draws(
    generator: Generator,
    given: Mapping[str, Any],
    count: int,
    *,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Return latents [count, tokens, width]: the unconditional draws of this seed, or, under conditions that the
    generator was trained with, those that its guidance makes of the same noise."""
    latents, own = _latents(generator), derived_seed(seed, "draw")
    if given and isinstance(latents, TakesConditions):
        return latents.sample_given(given, count, seed=own, device=generator.device, progress=progress)
    return generator.latents.sample(count, seed=own, device=generator.device, progress=progress)


def draw_asked(
    aim: Aim, run: Run, generator: Generator, *, count: int, seed: int, resolution: int
) -> tuple[Conditioned, dict[str, Any]]:
    """Draw, guide, mesh and measure; return also what conditions say that guide in their own way."""
    with run.progress("drawing latents", count) as advance:
        x = draws(generator, aim.given, count, seed=seed, progress=advance)
    said: dict[str, Any] = {}
    for name, (condition, raw) in aim.guides.items():
        try:
            x, facts = condition.guided(
                raw, x, generator=generator, table=aim.table, targets=aim.targets, seed=derived_seed(seed, name)
            )
        except ShapegenError:
            raise
        except Exception as error:
            raise PluginRaisedError(f"condition '{name}'", "guiding draws", error) from error
        said |= facts
    with run.progress("meeting the conditions", count) as advance:
        found = conditioned(generator, aim.table, aim.targets, x, seed=seed, resolution=resolution, progress=advance)
    return found, said
