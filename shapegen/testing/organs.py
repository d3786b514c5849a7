"""What every organ must do: list its items, and load closed, oriented surfaces in mm."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

from shapegen.testing.check import NonconformingError, NotCheckedError, Subject, require

if TYPE_CHECKING:
    from shapegen.protocols import Item, Loaded

LOADED = 3
"""Items that are read: the first, the last and one between."""


def says_its_unit_and_volumes(subject: Subject) -> None:
    """`unit` is mm, and `volume_range_ml` gives the smallest and largest possible volume: samples are judged by it."""
    organ = subject.build()
    require(organ.unit == "mm", f"`unit` of {subject} is {organ.unit!r}; expected 'mm': scale what you read")
    low, high = organ.volume_range_ml
    require(0 <= low < high, f"`volume_range_ml` of {subject} is {(low, high)}; expected (smallest, largest), mL")


def absent_data_is_refused(subject: Subject) -> None:
    """A path that does not exist raises NoUsableDataError: a misspelt one must not end in a run of something else."""
    from shapegen.errors import NoUsableDataError

    organ = subject.build()
    try:
        organ.scan(["no-such-folder-of-shapes"])
    except NoUsableDataError:
        return
    except Exception as error:
        raise NonconformingError(
            f"scanning a folder that does not exist, {subject} raised {type(error).__name__}: {error}; "
            "raise shapegen.errors.NoUsableDataError"
        ) from error
    raise NonconformingError(
        f"{subject} scanned a folder that does not exist; raise shapegen.errors.NoUsableDataError, also where the "
        "organ has a population of its own and takes no data"
    )


def scan_is_stable(subject: Subject) -> None:
    """Scanning lists the same items each time, sorted by unique ids: splits and caches go by them."""
    organ, items = _scanned(subject)
    ids = [item.id for item in items]
    require(ids == sorted(ids), f"the items of {subject} are not sorted by id; return sorted(items, key=...)")
    twice = sorted({each for each in ids if ids.count(each) > 1})
    require(not twice, f"ids of {subject} are there twice: {', '.join(twice[:5])}; name each item once")
    again, _ = organ.scan(list(subject.data))
    require(
        list(again) == list(items), f"a second scan of {subject} lists other items; draw nothing at random in `scan`"
    )


def patients_stay_together(subject: Subject) -> None:
    """Items of equal content have one group: one patient in two splits makes every test result too good."""
    organ, items = _scanned(subject)
    unnamed = [item.id for item in items if not item.group]
    require(not unnamed, f"{subject} has no group for {', '.join(unnamed[:5])}; expected the patient's name")
    content: dict[str | bytes, set[str]] = {}
    for item in items:
        content.setdefault(item.fingerprint, set()).add(item.group)
    loaded = [(item, organ.load(item).surface) for item in _some(items)]
    for item, surface in loaded:
        content.setdefault(surface.vertices.tobytes(), set()).add(item.group)
    apart = [sorted(groups) for groups in content.values() if len(groups) > 1]
    require(
        not apart,
        f"{subject} puts equal content into different groups, {apart[:3]}; files of one patient, and copies of a file, "
        "have the same group",
    )


def items_are_plain(subject: Subject) -> None:
    """Items and what is said of them are plain JSON, and each has a fingerprint of its own: caches are keyed by it."""
    organ, items = _scanned(subject)
    require(
        all(item.fingerprint for item in items),
        f"an item of {subject} has no fingerprint; use shapegen.store.sha256_json of the content and the settings",
    )
    try:
        for item in _some(items):
            json.dumps([dict(item.options), dict(organ.load(item).meta)], allow_nan=False)
    except (TypeError, ValueError) as error:
        raise NonconformingError(f"`options` or `meta` of {subject} is not plain JSON: {error}") from error


def surfaces_are_closed(subject: Subject) -> None:
    """Every surface is closed, of one piece, and oriented outwards: inside and volume mean nothing otherwise."""
    from shapegen.geometry.surface import component_count, is_closed, is_oriented, signed_volume

    for item, loaded in _loaded(subject):
        surface = loaded.surface
        found = {
            "has a hole, or an edge with more than two faces": not is_closed(surface),
            "has faces that disagree on their orientation": not is_oriented(surface),
            "has faces that point inwards": signed_volume(surface) <= 0,
            "is of several pieces": component_count(surface) > 1,
        }
        wrong = [what for what, holds in found.items() if holds]
        require(
            not wrong,
            f"the surface of {item.id} of {subject} {', '.join(wrong)}; see shapegen.data.repair.surface_from_mesh",
        )


def volumes_are_possible(subject: Subject) -> None:
    """Volumes lie within `volume_range_ml`: where they do not, the surface is not in mm, or the range is wrong."""
    from shapegen.geometry.surface import signed_volume

    low, high = subject.build().volume_range_ml
    for item, loaded in _loaded(subject):
        volume = abs(signed_volume(loaded.surface)) / 1000
        require(
            low <= volume <= high,
            f"{item.id} of {subject} has {volume:.4g} mL; expected {low:g} to {high:g} by `volume_range_ml`: is it mm?",
        )


def survives_another_process(subject: Subject) -> None:
    """Sent to another process it loads the same surfaces: `prepare` reads files in parallel."""
    import numpy as np

    organ, items = _scanned(subject)
    try:
        copy = pickle.loads(pickle.dumps(organ))  # noqa: S301  our own object, as multiprocessing sends it
    except Exception as error:
        raise NonconformingError(
            f"{subject} cannot be sent to another process: {error}; keep plain attributes only, of classes at the top "
            "of a module"
        ) from error
    for item in _some(items):
        require(
            np.array_equal(copy.load(item).surface.vertices, organ.load(item).surface.vertices),
            f"in another process, or a second time, {subject} loads another surface of {item.id}; loading depends on "
            "the item alone",
        )


def _scanned(subject: Subject) -> tuple[Any, list[Item]]:
    from shapegen.errors import NoUsableDataError

    organ = subject.build()
    try:
        items, _ = organ.scan(list(subject.data))
    except NoUsableDataError as error:
        if subject.data:
            raise
        raise NotCheckedError("an organ without shapes of its own is checked with --data PATH[:PRESET]") from error
    require(bool(items), f"{subject} found no usable item; expected some, or NoUsableDataError")
    return organ, items


def _some(items: list[Item]) -> list[Item]:
    return [items[k] for k in sorted({k * (len(items) - 1) // (LOADED - 1) for k in range(LOADED)})]


def _loaded(subject: Subject) -> list[tuple[Item, Loaded]]:
    organ, items = _scanned(subject)
    return [(item, organ.load(item)) for item in _some(items)]


CHECKS = (
    says_its_unit_and_volumes,
    absent_data_is_refused,
    scan_is_stable,
    patients_stay_together,
    items_are_plain,
    surfaces_are_closed,
    volumes_are_possible,
    survives_another_process,
)
