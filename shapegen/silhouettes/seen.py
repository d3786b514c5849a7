"""A picture together with what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shapegen.silhouettes.picture import Picture, read_picture
from shapegen.silhouettes.request import Request, parse_request


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One picture of a shape.

    Args:
        picture: as it was read.
        request: what is known of it.
    """

    picture: Picture
    request: Request

    @property
    def place(self) -> str:
        """The view of a silhouette or the plane of a slice; empty where it is not known."""
        return self.request.plane or self.request.view or ""

    def without(self, *, view: bool, size: bool) -> Seen:
        """Return the picture with less known of it."""
        request = replace(
            self.request,
            view=None if view else self.request.view,
            mm_per_pixel=None if size else self.request.mm_per_pixel,
        )
        return Seen(self.picture, request)


def read_seen(texts: Sequence[str]) -> tuple[Seen, ...]:
    """Read pictures as users name them.

    Raises:
        ConfigError: a request that cannot be read.
        UnusableItemError: a file that is no picture of an outline.
    """
    requests = [parse_request(text) for text in texts]
    return tuple(Seen(read_picture(each.path, holes=each.plane is not None), each) for each in requests)
