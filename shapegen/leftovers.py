"""What in a run folder can go without a loss: it can be computed again, or nobody will look for it any more."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shapegen.basis import STAGES
from shapegen.pipeline import STARTED
from shapegen.run import STAGE


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder, and why it can go."""

    path: Path
    why: str


def leftovers(folder: Path) -> list[Leftover]:
    """List a run folder's cache, interrupted stages, half-written files and the last error's traceback.

    Finished stages, the configuration, what was drawn, and files that shapegen does not know are none of them.
    """
    return list(_found(folder))


def _found(folder: Path) -> Iterator[Leftover]:
    if (cache := folder / "cache").is_dir():
        yield Leftover(cache, "made again from the data when a stage needs it")
    unfinished = [folder / stage.name for stage in STAGES if _unfinished(folder / stage.name)]
    for stage in unfinished:
        yield Leftover(stage, "an interrupted stage, which then begins anew")
    for path in sorted(folder.rglob(".*.tmp")):
        if path.is_file() and not any(path.is_relative_to(other) for other in (cache, *unfinished)):
            yield Leftover(path, "half-written by a run that was killed")
    if (log := folder / "error.log").is_file():
        yield Leftover(log, "traceback of an earlier error")


def _unfinished(stage: Path) -> bool:
    return (stage / STARTED).is_file() and not (stage / STAGE).is_file()


def freed(found: Sequence[Leftover]) -> int:
    """Return the bytes that removing them frees; a file that also has a name elsewhere (surfaces have) frees none."""
    names: Counter[tuple[int, int]] = Counter()
    sizes, links = {}, {}
    for leftover in found:
        for path in leftover.path.rglob("*") if leftover.path.is_dir() else [leftover.path]:
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                key = status.st_dev, status.st_ino
                names[key] += 1
                sizes[key], links[key] = status.st_size, status.st_nlink
    return sum(size for key, size in sizes.items() if names[key] >= links[key])


def remove(found: Sequence[Leftover]) -> None:
    """Remove them; links are removed and not followed."""
    for leftover in found:
        if leftover.path.is_dir() and not leftover.path.is_symlink():
            (leftover.path / STARTED).unlink(
                missing_ok=True
            )  # first: what a kill then leaves is no stage to go on with
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink(missing_ok=True)
