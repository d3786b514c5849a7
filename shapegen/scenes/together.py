"""From run folders to scenes: what `shapegen together` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.errors import ConfigError, RunFolderError
from shapegen.progress import Bars, say
from shapegen.scenes.export import write_organs
from shapegen.scenes.joint import AXES, choose, fit_joint
from shapegen.scenes.members import open_members
from shapegen.scenes.scene import SPACE, draw_scenes
from shapegen.scenes.shared import LISTED, shared_scans
from shapegen.store import write_json

if TYPE_CHECKING:
    from shapegen.run import Run

LIST = "together.json"


def together(
    runs: Sequence[Run],
    *,
    count: int,
    out: Path,
    seed: int = 0,
    spacing: float = 2.0,
    mesh_format: str = "stl",
    resolution: int | None = None,
    axes: int | None = None,
) -> dict[str, Any]:
    """Learn how the organs of several runs go together, draw scenes, and write them.

    Args:
        runs: one for each organ, the reference first.
        count: scenes.
        out: a new or empty folder; gets `scene-0000/` and so on (`shapegen.scenes.export`) and `together.json`.
        seed: scene i depends on (seed, i) alone.
        spacing: of the label maps, and of the lattice on which organs that meet are divided, mm.
        mesh_format: of the organs' meshes.
        resolution: cells of the meshing grid along each axis; None: as each run's samples.
        axes: leading axes of each organ that go with other organs; None: by held-out likelihood.

    Returns:
        The content of `together.json`.

    Raises:
        ConfigError: an organ is there twice or alone, or an argument is out of range; nothing is written.
        NoUsableDataError: the runs share too few patients.
        StageMissingError: a run is not trained.
        RunFolderError: a run's stages do not fit its configuration, or `out` holds something.
        UnusableItemError, MissingLibraryError: no such mesh format here.
    """
    from shapegen import __version__
    from shapegen.geometry.export import check_format

    check_format(mesh_format)
    if not 0.5 <= spacing <= 10:
        raise ConfigError(f"--spacing is 0.5 to 10 mm, got {spacing:g}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "is not empty" if out.is_dir() else "is a file"
        raise RunFolderError(f"{out} {what}, and nothing is overwritten; choose another --out, or remove it")
    members = open_members(runs)
    shared = shared_scans(members)
    chosen = choose(shared, AXES if axes is None else (axes,))
    joint = fit_joint(shared, chosen.axes, chosen.shrinkage)
    patients = len(set(shared.patients))
    if shared.left_out:
        some = "; ".join(f"{scan} ({reason})" for scan, reason in [*shared.left_out.items()][:LISTED])
        say(f"not learned from {len(shared.left_out)} shared scans: {some}")
    gain = chosen.gains[chosen.axes]
    say(f"{len(members)} organs of {patients} patients: {chosen.axes} leading axes, held-out gain {gain:.1f} nats")
    learned = {
        "scans": list(shared.scans),
        "patients": patients,
        "left_out": shared.left_out,
        "axes": chosen.axes,
        "shrinkage": chosen.shrinkage,
        "held_out_gain_nats": {str(number): value for number, value in chosen.gains.items()},
    }
    facts = {
        "shapegen": __version__,
        "seed": seed,
        "spacing_mm": float(spacing),
        "provenance": {member.name: member.to_json() for member in members},
    }
    rows = []
    with Bars().bar("drawing scenes", count) as advance:
        scenes = draw_scenes(members, joint, count, seed=seed, spacing=spacing, resolution=resolution)
        for number, scene in enumerate(scenes):
            name = f"scene-{number:04d}"
            there = write_organs(out / name, scene, mesh_format=mesh_format, facts={"id": name, **facts})
            volumes = {row["name"]: row["volume_ml"] for row in there["organs"]}
            kept = {key: there[key] for key in ("overlap_mm3", "empty")}
            rows.append({"id": name, "volume_ml": volumes, **kept})
            advance(1)
    result = {**facts, "space": SPACE, "learned": learned, "scenes": rows}
    write_json(out / LIST, result)
    return result
