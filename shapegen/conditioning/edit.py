"""A given shape with some of its attributes changed, and as little else as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shapegen.conditioning.attributes import ATTRIBUTES
from shapegen.conditioning.carry import carried
from shapegen.conditioning.draw import conditioned
from shapegen.conditioning.given import read_given
from shapegen.conditioning.population import attribute_table, measured_rows
from shapegen.conditioning.target import Target, targets_of
from shapegen.conditioning.wish import parse_wishes
from shapegen.data.placement import Placement
from shapegen.errors import ConditionValueError, UnusableItemError
from shapegen.geometry.export import write_mesh
from shapegen.progress import say
from shapegen.store import write_json, write_tensors

if TYPE_CHECKING:
    from shapegen.generator import Generator
    from shapegen.pretrained import Pretrained
    from shapegen.run import Run


def write_edited(
    run: Run,
    generator: Generator,
    path: Path,
    changes: Sequence[str],
    *,
    pretrained: Pretrained | None,
    out: Path,
    mesh_format: str,
    resolution: int,
) -> dict[str, Any]:
    """Write `edited.<format>`, `fitted.<format>`, `edited-code.<format>`, `inr.safetensors` and `edit.json`; return the
    latter.

    The shape's code is fitted, and moved to the nearest latent that has the wanted attributes
    (`shapegen.conditioning.nearest`, u_0 the fitted one). The given surface is carried along with the code's
    (`shapegen.conditioning.carry`), so what the code does not hold of it (`misfit_mm`) stays; it stays where it lies.
    Changes in percent are of what was measured on the given surface, and the code aims at as much more or less as the
    given surface has than that of its code. `fitted` and `edited-code` are the surfaces of the codes alone.

    Raises:
        ConditionValueError: nothing to change, or a change that cannot be read.
        UnusableItemError: the mesh cannot be used.
    """
    wishes = parse_wishes(changes, relative=True)
    if not wishes:
        raise ConditionValueError("nothing to change: give --set NAME=VALUE, such as --set volume=+15%")
    (given,) = read_given(run, generator, [path], pretrained=pretrained)
    table = attribute_table(run, generator, pretrained)
    plain = replace(generator, detail=None)
    before = measured_rows([given.in_population_frame])[0]
    own = {
        name: ATTRIBUTES[name].working(float(value))
        for name, value in zip(ATTRIBUTES, before, strict=True)
        if np.isfinite(value)
    }
    targets, warnings = targets_of(wishes, table, shape=own)
    for warning in warnings:
        say(f"warning: {warning}")
    (fitted,) = plain.mesh(given.code[None], torch.tensor([given.placement.scale]), resolution=resolution)
    of_code = dict(zip(ATTRIBUTES, measured_rows([fitted.surface])[0], strict=True))
    aims = tuple(_of_the_code(target, own, of_code) for target in targets)
    x = given.latent(generator)[None]
    (edited,) = conditioned(plain, table, aims, x, seed=0, resolution=resolution).samples
    if edited.surface is None or fitted.surface is None:
        raise UnusableItemError(f"{path.name}: no shape is left after the change", advice="change it less")
    place = replace(given.placement, scale=edited.scale_mm)
    canonical = given.placement.to_canonical(given.surface)
    moved = canonical.moved(carried(plain, canonical.vertices, given.code, edited.code))
    write_mesh(out / f"edited.{mesh_format}", place.to_mm(moved))
    for name, surface, where in (
        ("fitted", fitted.surface, given.placement),
        ("edited-code", edited.surface, place),
    ):
        write_mesh(out / f"{name}.{mesh_format}", where.to_mm(Placement(where.scale).to_canonical(surface)))
    write_tensors(out / "inr.safetensors", {"weights": edited.weights[None], "codes": edited.code[None]})
    after = measured_rows([fitted.surface, Placement(place.scale).to_mm(moved)])
    asked = {target.attribute: target.natural for target in targets}
    result = {
        "organ": run.config.organ.name,
        "file": path.name,
        "changes": list(changes),
        "warnings": list(warnings),
        "misfit_mm": given.misfit_mm,
        "placement": place.to_json(),
        "attributes": {
            name: {
                "unit": attribute.unit,
                "given": _finite(before[column]),
                "fitted": _finite(after[0, column]),
                "aimed_at": asked.get(name),
                "edited": _finite(after[1, column]),
            }
            for column, (name, attribute) in enumerate(ATTRIBUTES.items())
        },
    }
    write_json(out / "edit.json", result)
    return result


def _of_the_code(target: Target, given: Mapping[str, float], fitted: Mapping[str, float]) -> Target:
    """Return what the code has to aim at, if the given surface (working scale) and that of its code (natural units)
    go on to differ as they do."""
    name = target.attribute
    known = name in given and np.isfinite(fitted[name])
    lack = ATTRIBUTES[name].working(float(fitted[name])) - given[name] if known else 0.0
    return replace(target, value=target.value + lack, vague=False)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
