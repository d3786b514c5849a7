"""The organ: a population of such shapes, each made from its number alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from shapegen.errors import NoUsableDataError
from shapegen.geometry.surface import signed_volume
from shapegen.protocols import Item, Loaded
from shapegen.store import derived_seed, sha256_json

from shapegen_kidney_phantom.kidney import draw_factors, kidney

VERSION = 1
"""Raised whenever `load` gives another surface for the same options, so that cached ones are made anew."""


class KidneyPhantom:
    """Implements `shapegen.protocols.Organ`; sent to worker processes, so it holds plain values only.

    Args:
        count: of shapes.
        variation: factor of the factors' standard deviations.
    """

    unit: Literal["mm"] = "mm"
    volume_range_ml = (30.0, 500.0)
    notes = ("kidney phantoms: made by a formula, no anatomy",)

    def __init__(self, *, count: int, variation: float) -> None:
        self.count = count
        self.variation = variation

    def scan(self, data: Sequence[str]) -> tuple[list[Item], list[dict[str, str]]]:
        """List the shapes, sorted by id; nothing is unusable.

        Raises:
            NoUsableDataError: data was given.
        """
        if data:
            raise NoUsableDataError(f"this organ makes its shapes itself, got --data {data[0]}; leave --data out")
        return [self.item(number) for number in range(self.count)], []

    def item(self, number: int) -> Item:
        # "embedded": right by construction, so not sorted by the checks that are meant for scans
        options = {"kind": "embedded", "number": number, "variation": self.variation}
        return Item(
            id=f"kidney-phantom/{number:05d}",
            group=f"{number:05d}",
            path=Path("none"),
            fingerprint=sha256_json(["kidney-phantom", VERSION, options]),
            options=options,
        )

    def load(self, item: Item) -> Loaded:
        """Return a closed, outward oriented surface of one component, in mm, and the factors that made it."""
        rng = np.random.default_rng(derived_seed(0, "kidney-phantom", item.options["number"]))
        factors = draw_factors(rng, variation=item.options["variation"])
        surface = kidney(factors)
        meta = {"volume_ml": signed_volume(surface) / 1000, "factors": factors.to_json(), "repairs": []}
        return Loaded(surface=surface, meta=meta)
