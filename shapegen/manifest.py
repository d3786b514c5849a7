"""What a run folder says about itself: its format, its configuration, and the software that wrote it."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from shapegen.configfile import read_file
from shapegen.errors import CorruptFileError, RunFolderError
from shapegen.store import read_json

FORMAT = 1
"""Version of the run folder's layout; see docs/run-folder.md."""

MANIFEST = "manifest.json"
CONFIG = "config.yaml"
_LIBRARIES = ("numpy", "torch", "scipy", "scikit-image", "libigl", "open3d", "trimesh", "nibabel", "safetensors")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the manifest of a run folder.

    Raises:
        RunFolderError: there is none, or it is of another version.
        CorruptFileError: it is not JSON, or no manifest.
    """
    path = folder / MANIFEST
    if not path.exists():
        what = f"has no {MANIFEST}, so it is no run folder" if folder.is_dir() else "does not exist"
        raise RunFolderError(f"{folder} {what}; start one with `shapegen run --out {folder}`")
    manifest = read_json(path)
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if version != FORMAT:
        writer = manifest.get("shapegen", "unknown") if isinstance(manifest, dict) else "unknown"
        raise RunFolderError(
            f"{folder} has run folder format {version}, written by shapegen {writer}; this shapegen reads format "
            f"{FORMAT}: use that version, or start a new run with another --out"
        )
    notes = manifest.get("notes", [])
    sections = [manifest.get(name, {}) for name in ("plugins", "seeds", "inputs", "versions")]
    if not (
        isinstance(notes, list)
        and all(isinstance(note, str) for note in notes)
        and all(isinstance(section, dict) for section in sections)
    ):
        raise CorruptFileError(f"{path}: not a manifest; delete the file to have it made again")
    return dict(manifest)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the resolved configuration of a run folder as plain data.

    Raises:
        RunFolderError: there is none.
    """
    path = folder / CONFIG
    if not path.exists():
        raise RunFolderError(f"{folder} has no {CONFIG}; give its options again with `shapegen run --out {folder} ...`")
    return read_file(path)


def environment() -> dict[str, Any]:
    """Return the versions of shapegen, Python and the libraries that results depend on, and the platform."""
    from shapegen import __version__

    return {
        "shapegen": __version__,
        "versions": {"python": platform.python_version(), **_library_versions()},
        "platform": platform.platform(),
    }


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
