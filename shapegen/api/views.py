"""Pages and films to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.api.given import generator_of
from shapegen.api.runs import open_run
from shapegen.manifest import MANIFEST
from shapegen.run import Run

if TYPE_CHECKING:
    from shapegen.report.render import View


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


def film(
    run: Run | str | Path | None = None,
    *,
    organ: str | None = None,
    n: int = 3,
    out: str | Path | None = None,
    side: View = "anterior",
) -> Path:
    """Write a film of how noise becomes a generator's first samples, as `shapegen film` does, and return its path.

    Args:
        run: a trained run with the generator `diffusion`, or its folder.
        organ: in place of a run: the organ whose pretrained generator is shown.
        n: samples beside each other.
        out: GIF, or MP4 where imageio-ffmpeg is installed; None: `noise-to-<organ>.gif`.
        side: from which side they are seen.

    Raises:
        ConfigError: not exactly one of run and organ is given, the suffix, or a generator that does not go by steps.
        MissingLibraryError: MP4 needs imageio-ffmpeg.
        StageMissingError: the run is not trained.
    """
    from shapegen.report.film import check_format, write_film

    if out is not None:
        check_format(Path(out))
    opened, generator, _ = generator_of(run, organ, needed_by="film")
    path = Path(out) if out is not None else Path(f"noise-to-{opened.config.organ.name.rpartition(':')[2]}.gif")
    write_film(
        generator,
        path,
        seed=opened.seed,
        resolution=opened.config.sample.resolution,
        count=n,
        view=side,
        progress=opened.progress,
    )
    return path
