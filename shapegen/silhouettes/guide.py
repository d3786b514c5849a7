"""Draws of any generator that look like pictures, together with attributes that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from shapegen.completion.prior import Prior, latents
from shapegen.errors import UnusableItemError
from shapegen.progress import say
from shapegen.silhouettes.fit import TRIAL_STEPS, find_view, look_like
from shapegen.silhouettes.picture import Picture
from shapegen.silhouettes.rays import Rays, rays_of
from shapegen.silhouettes.seen import Seen

if TYPE_CHECKING:
    from shapegen.completion.posterior import Term
    from shapegen.conditioning.population import AttributeTable
    from shapegen.conditioning.target import Target
    from shapegen.generator import Generator

UNLIKE, UNLIKE_SECTION = 0.8, 0.65
"""Median overlap of the draws below which no such organ looks like the silhouette or slice; silhouettes of test livers
come to 0.95, a slice of one to 0.8, since outlines of slices have detail that no code holds."""
CLEARLY = 0.02
"""By how much more one way of looking at a picture must overlap than another to be told apart from it."""
SOFT = 0.2
"""Smallest spread of an attribute here, in standard deviations: what is meant more exactly is met afterwards."""


def guided(
    seen: Sequence[Seen],
    x: Tensor,
    *,
    generator: Generator,
    table: AttributeTable,
    targets: Sequence[Target],
    seed: int,
) -> tuple[Tensor, Mapping[str, Any]]:
    """Move draws of a generator as little as it takes to look like pictures.

    Args:
        seen: pictures of one shape.
        x: [n, tokens, width], draws of the generator, standardised.
        generator: of a run or of an organ, whose INR gives signed distances.
        table: of its population.
        targets: attributes that are asked for beside.
        seed: of the outlines' errors; draw i depends on (seed, i), x_i and the pictures alone.

    Returns:
        Latents [n, tokens, width], and of each picture its view, how that was found out, and the overlaps (IoU).

    Raises:
        ConfigError: the INR gives occupancies.
        UnusableItemError: no such organ looks like a picture.
    """
    mask = generator.layout.mask
    prior = table.prior(x[:, mask].double().numpy())
    rays, facts = [], []
    for each in seen:
        found, fact = _placed(generator, prior, each, seed=seed)
        rays.append(found)
        facts.append(fact)
    looks = look_like(
        generator, prior, rays, count=len(x), seed=seed, terms=_terms(generator, prior, table, targets, len(x), seed)
    )
    for number, (each, fact) in enumerate(zip(seen, facts, strict=True)):
        overlaps = looks.overlaps[:, number].numpy()
        middle = float(np.median(overlaps))
        fact |= {"overlap": middle, "overlaps": [float(value) for value in overlaps]}
        if middle < (UNLIKE if each.request.plane is None else UNLIKE_SECTION):
            raise UnusableItemError(
                f"{each.request.path.name}: the draws that look most like it overlap it by {middle:.0%} (median), such "
                f"organs by {'95' if each.request.plane is None else '80'} % and more",
                advice="check the view, whether it is this organ and whole"
                + (", and mm_per_pixel" if each.request.mm_per_pixel else "")
                + (", and the other conditions" if targets or len(seen) > 1 else ""),
            )
    return latents(prior, looks.u, mask), {"pictures": facts}


def _placed(generator: Generator, prior: Prior, seen: Seen, *, seed: int) -> tuple[Rays, dict[str, Any]]:
    """Return a picture's lines of sight, with its view found out where it is not known, and what was found."""
    name = seen.request.path.name
    fact: dict[str, Any] = {"file": name, "view": seen.place, "estimated": not seen.place}
    if seen.place:
        rays = rays_of(seen.picture, seen.request, seed=seed)
        if seen.request.plane is None:
            _mirrored(generator, prior, seen, rays)
        return rays, fact
    view, overlaps = find_view(generator, prior, seen.picture, seen.request)
    others = sorted((each for each in overlaps if each != view), key=lambda each: -overlaps[each])
    doubt = [each for each in others if overlaps[each] > overlaps[view] - CLEARLY]
    fact |= {"view": view, "overlaps_of_views": dict(overlaps)}
    text = (
        f"{name}: seen as the {view} view (overlap {overlaps[view]:.2f}; next {others[0]}, {overlaps[others[0]]:.2f})"
    )
    if doubt:
        say(f"warning: {text}; {' and '.join(doubt)} would fit as well: give view= if you know it")
    else:
        say(text)
    return rays_of(seen.picture, seen.request, view=view, seed=seed), fact


def _mirrored(generator: Generator, prior: Prior, seen: Seen, rays: Rays) -> None:
    """Warn where a picture fits clearly better with left and right exchanged."""
    turned = replace(seen, picture=Picture(np.ascontiguousarray(seen.picture.mask[:, ::-1]), seen.picture.reduction))
    other = rays_of(turned.picture, turned.request)
    as_is, exchanged = (
        float(look_like(generator, prior, [each], count=0, seed=0, estimate=True, steps=TRIAL_STEPS).overlaps[0, 0])
        for each in (rays, other)
    )
    if exchanged > as_is + CLEARLY:
        say(
            f"warning: {seen.request.path.name} fits better mirrored (overlap {exchanged:.2f}, as it is {as_is:.2f}); "
            "the patient's right belongs on the left of anterior, superior and inferior views"
        )


def _terms(
    generator: Generator, prior: Prior, table: AttributeTable, targets: Sequence[Target], count: int, seed: int
) -> tuple[Term, ...]:
    from shapegen.conditioning.term import AttributeTerm

    if not targets:
        return ()
    soft = [replace(each, spread=max(each.spread, SOFT * table.spread(each.attribute))) for each in targets]
    return (AttributeTerm(generator, prior, table, soft, count=count, seed=seed, estimate=False),)
