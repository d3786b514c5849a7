"""A study's folder: what the server reads of it. The truth lies in a file of its own, which the server never opens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapegen.errors import ConfigError, CorruptFileError, RunFolderError
from shapegen.store import read_json, write_json

STUDY = "study.json"
TRUTH = "truth.json"
ANSWERS = "answers.sqlite"
MESHES = "meshes"
FORMAT = 1

REASONS = (
    "overall shape or proportions",
    "size",
    "lobes or parts",
    "edges and borders",
    "fissures and impressions",
    "surface too smooth",
    "surface too rough",
    "unlike any anatomy I know",
    "just a feeling",
)
"""What readers choose from, several at a time."""

_NAME = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Showing:
    """One shape shown once to one reader.

    Args:
        id: opaque; what the browser knows it by.
        mesh: file in `meshes/`, without its suffix; never leaves the server.
        practice: whether it comes before the study proper.
    """

    id: str
    mesh: str
    practice: bool


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader.

    Args:
        name: in tables; never leaves the server.
        token: the secret part of the reader's link.
        showings: in the order in which they are shown.
    """

    name: str
    token: str
    showings: tuple[Showing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What the server needs to know.

    Args:
        folder: where everything lies.
        organ: name of the organ, as readers see it.
        reasons: what they choose from.
        secret: key of the codes that guard against forged requests.
        readers: all of them.
    """

    folder: Path
    organ: str
    reasons: tuple[str, ...]
    secret: str
    readers: tuple[Reader, ...]

    def mesh(self, showing: Showing) -> Path:
        return self.folder / MESHES / f"{showing.mesh}.bin"

    def save(self) -> None:
        """Write `study.json`, which makes the study whole: it is written last."""
        readers = [
            {
                "name": reader.name,
                "token": reader.token,
                "showings": [{"id": s.id, "mesh": s.mesh, "practice": s.practice} for s in reader.showings],
            }
            for reader in self.readers
        ]
        content: dict[str, Any] = {"format": FORMAT, "organ": self.organ, "reasons": list(self.reasons)}
        write_json(self.folder / STUDY, {**content, "secret": self.secret, "readers": readers})


def load_study(folder: Path) -> Study:
    """Read `study.json`.

    Raises:
        RunFolderError: the folder is no finished study.
        CorruptFileError: the file is not what `Study.save` wrote.
    """
    if not (folder / STUDY).exists():
        raise RunFolderError(f"{folder} is no finished study; make one with `shapegen survey new RUN --out {folder}`")
    data = read_json(folder / STUDY)
    try:
        if data["format"] != FORMAT:
            raise RunFolderError(f"{folder} is a study of format {data['format']}, expected {FORMAT}; make it anew")
        readers = tuple(
            Reader(
                str(row["name"]),
                str(row["token"]),
                tuple(Showing(str(s["id"]), _name(s["mesh"]), bool(s["practice"])) for s in row["showings"]),
            )
            for row in data["readers"]
        )
        return Study(
            folder=folder,
            organ=str(data["organ"]),
            reasons=tuple(map(str, data["reasons"])),
            secret=str(data["secret"]),
            readers=readers,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{folder / STUDY}: not a study ({error!r}); restore it from a copy") from error


def _name(text: Any) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"expected the name of a mesh, got {text!r}")
    return str(text)


def read_reasons(path: Path) -> tuple[str, ...]:
    """Read what readers choose from: one in each line, empty lines left out.

    Raises:
        ConfigError: there is none, or one is too long or there twice.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    reasons = tuple(line for line in lines if line)
    if not 0 < len(reasons) <= 50 or len(set(reasons)) < len(reasons) or max(map(len, reasons)) > 200:
        raise ConfigError(f"{path}: expected 1 to 50 different reasons of at most 200 letters, one in each line")
    return reasons
