"""Pages and films to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shapegen.api.runs import open_run
from shapegen.manifest import MANIFEST


def view(paths: str | Path | Sequence[str | Path], *, out: str | Path = "view.html", share: bool = False) -> Path:
    """Write one page with shapes in three dimensions, as `shapegen view` does, and return its path.

    Args:
        paths: a run, whose whole report it is then; or meshes, folders of meshes and runs in any mixture.
        out: the page; one that is there is replaced.
        share: leave out whatever leads back to a scan: real shapes, names of files and patients, paths, notes. Takes
            runs and what `sample` wrote.

    Raises:
        ConfigError: a path holds no mesh, or, to be shared, others than samples.
        NoUsableDataError: no mesh can be read.
        CorruptFileError: a file of a run is damaged.
    """
    from shapegen.report.view import view_paths, view_run

    found = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if len(found) == 1 and (found[0] / MANIFEST).exists():
        view_run(open_run(found[0]), Path(out), share=share)
    else:
        view_paths(found, Path(out), share=share)
    return Path(out)
