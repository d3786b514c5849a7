"""Who is for training, validation and test: decided for each patient group, never for single shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shapegen.data.population import SPLITS, Split
from shapegen.errors import ConfigError
from shapegen.store import read_json


def position(group: str, purpose: str = "split") -> float:
    """Return a number in [0, 1) that depends on the group's name only (SHA-256), not on the population."""
    return int(hashlib.sha256(f"{purpose}:{group}".encode()).hexdigest()[:13], 16) / 16**13


def by_hash(groups: Sequence[str], *, validation: float, test: float) -> dict[str, Split]:
    """Split groups by their hash, so that a group's split does not change when others are added.

    Where that leaves a wanted split empty (small populations), the group that is nearest to it takes it; three groups
    are enough for three splits.

    Args:
        groups: patients, in any order, repeated or not.
        validation: share of the groups, 0 to below 1.
        test: share of the groups; both together below 1.

    Raises:
        ConfigError: impossible shares.
    """
    if min(validation, test) < 0 or validation + test >= 1:
        raise ConfigError(f"split: validation {validation} and test {test} must be at least 0 and together below 1")
    order = sorted(set(groups), key=position)
    result: dict[str, Split] = {
        group: "test" if position(group) < test else "validation" if position(group) < test + validation else "train"
        for group in order
    }
    wanted: list[Split] = ["train", *(["test"] if test else []), *(["validation"] if validation else [])]  # type: ignore[list-item]
    if len(order) >= len(wanted):
        _fill_empty(result, order, wanted)
    return result


def _fill_empty(result: dict[str, Split], order: Sequence[str], wanted: Sequence[Split]) -> None:
    for split in wanted:
        if split in result.values():
            continue
        counts = {name: list(result.values()).count(name) for name in SPLITS}
        donors = [group for group in order if counts[result[group]] > 1]
        # The hash runs test, validation, train from 0 to 1: give what lies nearest to that end.
        result[donors[-1] if split == "train" else donors[0]] = split


def by_fold(groups: Sequence[str], *, folds: int, fold: int, validation: float) -> dict[str, Split]:
    """Split groups for cross-validation: one fold of `folds` is the test set, a share of the rest for validation.

    Folds are as equal in size as can be (round-robin over the groups in the order of their hashes); each group is in
    the test set of exactly one fold.

    Args:
        groups: patients, in any order, repeated or not.
        folds: at least 2, at most as many as there are groups.
        fold: 0 to folds - 1.
        validation: share of the other folds' groups, at least one group if above 0.

    Raises:
        ConfigError: impossible numbers.
    """
    order = sorted(set(groups), key=position)
    if not 2 <= folds <= len(order):
        raise ConfigError(f"split.folds: expected 2 to {len(order)} (there are {len(order)} patients), got {folds}")
    if not 0 <= fold < folds:
        raise ConfigError(f"split.fold: expected 0 to {folds - 1}, got {fold}")
    test = set(order[fold::folds])
    rest = sorted(set(order) - test, key=lambda group: position(group, "validation"))
    count = min(len(rest) - 1, max(1, round(validation * len(rest)))) if validation > 0 else 0
    held = set(rest[:count])
    return {group: "test" if group in test else "validation" if group in held else "train" for group in order}


def from_file(path: Path, groups: Mapping[str, str]) -> dict[str, Split]:
    """Read a split from a JSON file that maps each item's id, or its patient group, to train, validation or test.

    Args:
        path: the JSON file; an id goes before its group.
        groups: the group of each item's id.

    Returns:
        The split of each id.

    Raises:
        ConfigError: an id is missing, a value is no split, or one patient is in two splits.
    """
    given = _read(path)
    given = {name: given[name] if name in given else given.get(group) for name, group in groups.items()}
    missing = sorted(name for name, split in given.items() if split is None)
    if missing:
        raise ConfigError(f"{path}: names neither id nor group of {len(missing)} shapes: {', '.join(missing[:5])}")
    wrong = sorted(set(map(str, given.values())) - set(SPLITS))
    if wrong:
        raise ConfigError(f"{path}: expected {', '.join(SPLITS)}, got {', '.join(wrong)}")
    of_group: dict[str, tuple[str, Split]] = {}
    for name, group in sorted(groups.items()):
        first, split = of_group.setdefault(group, (name, given[name]))
        if split != given[name]:
            raise ConfigError(
                f"{path}: {first} ({split}) and {name} ({given[name]}) are of one patient ({group}); "
                "put both in one split"
            )
    return given


def held_out(path: Path) -> set[str]:
    """Return the ids and groups that a split file names for validation or test, whether they are there or not.

    Raises:
        ConfigError: it is no such file.
    """
    return {name for name, split in _read(path).items() if split != "train"}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"split.file: {path} does not exist")
    given = read_json(path)
    if not isinstance(given, dict):
        raise ConfigError(f'{path}: expected a JSON object of id or group: "train" | "validation" | "test"')
    return given
