"""Some of many, evenly spread: for whatever may not look at all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return at most so many of these, evenly spread over their order."""
    count = min(most, len(items))
    return [items[k * len(items) // count] for k in range(count)]
