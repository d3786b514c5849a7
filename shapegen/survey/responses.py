"""Answers and truth put together: who said what of which shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import CorruptFileError, RunFolderError
from shapegen.store import read_json
from shapegen.survey.answers import Answer, Kept
from shapegen.survey.study import TRUTH, Study

Showing = Literal["practice", "first", "repeated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One shape of a study.

    Args:
        mesh: its name in the study.
        id: of the shape in its run.
        kind: real, synthetic or near-copy.
        practice: whether it does not count.
        novelty: of a sample, its distance to the nearest training shape, as the run's metrics give it.
    """

    mesh: str
    id: str
    kind: str
    practice: bool
    novelty: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer, with what it was about.

    Args:
        reader: name.
        item: the shape.
        showing: practice, first or repeated.
        place: in the reader's order, from 1.
        kept: the answer.
        counts: False where the reader changed it later.
    """

    reader: str
    item: Item
    showing: Showing
    place: int
    kept: Kept
    counts: bool

    @property
    def answer(self) -> Answer:
        return self.kept.answer


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """What R readers said of I shapes at first sight, as arrays; NaN where there is no answer.

    Args:
        synthetic: [I], whether a shape is.
        called: [R, I], 1 where a reader said synthetic, 0 where real.
        score: [R, I], from -5, certainly real, to 5, certainly synthetic.
    """

    synthetic: NDArray[np.bool_]
    called: NDArray[np.float64]
    score: NDArray[np.float64]

    def of(self, readers: Any, items: Any) -> Ratings:
        """Return the ratings of these readers and items, by numbers or masks; some may be there twice."""
        return Ratings(self.synthetic[items], self.called[readers][:, items], self.score[readers][:, items])


def read_items(study: Study, truth: Path | None = None) -> dict[str, Item]:
    """Read the truth: the items by the names of their meshes.

    Raises:
        RunFolderError: the file is not there.
        CorruptFileError: it is not the truth of this study.
    """
    path = truth or study.folder / TRUTH
    if not path.exists():
        raise RunFolderError(f"{path} is not there; give the place where the study's {TRUTH} was kept with --truth")
    try:
        items = {
            str(mesh): Item(
                mesh=str(mesh),
                id=str(row["id"]),
                kind=str(row["kind"]),
                practice=bool(row["practice"]),
                novelty=None if row["novelty"] is None else float(row["novelty"]),
            )
            for mesh, row in read_json(path)["items"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptFileError(f"{path}: not the truth of a study ({error!r}); restore it from a copy") from error
    if missing := {s.mesh for reader in study.readers for s in reader.showings} - items.keys():
        raise CorruptFileError(f"{path}: {len(missing)} shapes of the study are not in it; is it another study's?")
    return items


def join(study: Study, items: dict[str, Item], answers: Sequence[Kept]) -> list[Response]:
    """Return every answer with its shape, in the order in which they came."""
    places: dict[tuple[str, str], tuple[Item, Showing, int]] = {}
    for reader in study.readers:
        seen: set[str] = set()
        for place, showing in enumerate(reader.showings, 1):
            when: Showing = "practice" if showing.practice else "repeated" if showing.mesh in seen else "first"
            seen.add(showing.mesh)
            places[reader.name, showing.id] = (items[showing.mesh], when, place)
    last = {(kept.reader, kept.answer.item): kept.revision for kept in answers}
    responses = []
    for kept in answers:
        key = (kept.reader, kept.answer.item)
        if key not in places:
            raise CorruptFileError(f"answer {kept.revision} is about no shape of this study; is it another's?")
        item, when, place = places[key]
        counts = last[key] == kept.revision
        responses.append(Response(reader=kept.reader, item=item, showing=when, place=place, kept=kept, counts=counts))
    return responses


def ratings(responses: Iterable[Response], readers: Sequence[str], items: Sequence[Item]) -> Ratings:
    """Return the counting answers at first sight to these items, of these readers, as arrays."""
    rows = {name: k for k, name in enumerate(readers)}
    columns = {item.mesh: k for k, item in enumerate(items)}
    called = np.full((len(rows), len(columns)), np.nan)
    score = called.copy()
    for each in responses:
        if each.counts and each.showing == "first" and each.reader in rows and each.item.mesh in columns:
            place = rows[each.reader], columns[each.item.mesh]
            called[place] = each.answer.choice == "synthetic"
            score[place] = each.answer.signed
    return Ratings(np.array([item.kind != "real" for item in items], dtype=bool), called, score)
