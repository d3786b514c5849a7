"""What a reviewer works on: the items in the order in which a look at them helps most, and the decisions so far."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from shapegen.curation.decisions import Decision, automatic_verdict, read_decisions, write_decision
from shapegen.curation.lists import write_lists
from shapegen.curation.report import write_report
from shapegen.curation.verdicts import Verdict

if TYPE_CHECKING:
    from shapegen.geometry.surface import Surface
    from shapegen.report.render import View

PIXELS = 400
FACES = 20_000
NOTE = 2000


class Desk:
    """A curated folder under review; may be used from several threads.

    Args:
        folder: the curated folder.

    Attributes:
        items: those with a surface, the doubtful ones first.
        unreadable: how many have none; there is nothing to decide of them.

    Raises:
        CorruptFileError: `curation.json` or `decisions.json` is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        from shapegen.curation.folder import read_curation

        data = read_curation(folder)
        self.folder, self.organ = folder, str(data["organ"])
        readable = [item for item in data["items"] if item["surface"]]
        self.items: list[Mapping[str, Any]] = sorted(
            readable, key=lambda item: (-doubt(item), -item["severity"], item["id"])
        )
        self.unreadable = len(data["items"]) - len(readable)
        self._by_id = {str(item["id"]): item for item in self.items}
        self._saving, self._drawing = Lock(), Lock()
        self._decisions = read_decisions(folder)
        self._surface = lru_cache(maxsize=4)(self._read_surface)
        self._picture = lru_cache(maxsize=64)(self._draw_picture)
        self._mesh = lru_cache(maxsize=16)(self._pack_mesh)

    def state(self) -> dict[str, Any]:
        """Return all that the page shows in words, as JSON."""
        return {
            "organ": self.organ,
            "unreadable": self.unreadable,
            "items": [{**item, "automatic": automatic_verdict(item)} for item in self.items],
            "decisions": {
                name: {"verdict": each.verdict, "note": each.note}
                for name, each in self._decisions.items()
                if name in self._by_id
            },
        }

    def decide(self, name: str, verdict: Verdict | None, note: str = "") -> None:
        """Keep a decision, or take it back (None), on disk before this returns.

        Raises:
            KeyError: no such item.
            ConfigError: no such class.
        """
        automatic = automatic_verdict(self._by_id[name])
        decision = None
        if verdict is not None:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            decision = Decision(verdict, automatic, note[:NOTE], at)
        with self._saving:
            self._decisions = write_decision(self.folder, name, decision)

    def picture(self, number: int, view: View) -> bytes:
        """Return a large picture of an item as PNG."""
        # One at a time: a browser asks for all at once, and each keeps a core busy.
        with self._drawing:
            return self._picture(number, view)

    def mesh(self, number: int) -> bytes:
        """Return an item's surface for the browser, thinned out: counts of vertices and faces as uint32, vertices and
        normals as float32, corners as uint16; mm from the middle of the surface's box, RAS."""
        with self._drawing:
            return self._mesh(number)

    def finish(self) -> None:
        """Write report and lists anew."""
        with self._saving:
            write_lists(self.folder)
            write_report(self.folder)

    def _read_surface(self, number: int) -> Surface:
        from shapegen.geometry.export import read_mesh

        return read_mesh(self.folder / self.items[number]["surface"])

    def _draw_picture(self, number: int, view: View) -> bytes:
        from shapegen.curation.pictures import picture

        return picture(self._surface(number), view, PIXELS)

    def _pack_mesh(self, number: int) -> bytes:
        import numpy as np

        from shapegen.curation.decimation import decimated

        surface = decimated(self._surface(number), FACES)
        # Faces of a soup share no vertices, but even of those there are few enough for 16 bits.
        used, corners = np.unique(surface.faces, return_inverse=True)
        vertices = surface.vertices[used]
        vertices -= (vertices.min(axis=0) + vertices.max(axis=0)) / 2
        corners = corners.reshape(-1, 3)
        normals = _normals(surface)[used]
        head = np.array([len(used), len(corners)], dtype="<u4").tobytes()
        return head + b"".join(
            (vertices.astype("<f4").tobytes(), normals.astype("<f4").tobytes(), corners.astype("<u2").tobytes())
        )


def doubt(item: Mapping[str, Any]) -> float:
    """Return how much a look at an item helps: 1 where the checks say so themselves, else how unlikely the classifier
    thinks their verdict; without one, a half where they object to something."""
    if automatic_verdict(item) == "not_sure":
        return 1.0
    if item["probability"]:
        return round(1.0 - float(item["probability"].get(item["verdict"], 0.0)), 2)
    return 0.5 if item["findings"] else 0.0


def _normals(surface: Surface) -> Any:
    import numpy as np

    from shapegen.geometry.surface import face_normals

    flat, areas = face_normals(surface)
    weighted = np.repeat(flat * areas[:, None], 3, axis=0)
    corners, size = surface.faces.ravel(), len(surface.vertices)
    sums = np.stack([np.bincount(corners, weighted[:, axis], size) for axis in range(3)], axis=1)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
