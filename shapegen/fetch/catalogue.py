"""Which public datasets there are for an organ. They are data: a JSON file that the organ's plugin names."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from shapegen.errors import ConfigError, CorruptFileError, PluginRaisedError
from shapegen.plugin import Config

if TYPE_CHECKING:
    from shapegen.data.organ import FileOrgan
    from shapegen.registry import Catalog


class Archive(Config):
    """The one file that is downloaded, a zip."""

    name: str = Field(pattern=r"^\w[\w.-]*\.zip$", description="Its name on disk.")
    url: str = Field(pattern=r"^https?://", description="Where it is.")
    bytes: int = Field(gt=0, description="Its exact size.")
    hash: str | None = Field(
        pattern=r"^(md5|sha256):[0-9a-f]+$", description="As it was published; null where that is not known."
    )


class Licence(Config):
    """What the data may be used for."""

    name: str
    url: str


class Dataset(Config):
    """A public dataset, and what of it is taken."""

    summary: str = Field(description="What it is.")
    page: str = Field(description="Where people read about it.")
    archive: Archive
    licence: Licence
    citation: str = Field(description="What its authors ask to be cited.")
    structures: str = Field(description="Which list of structures it has.")
    member: str = Field(description="Regular expression of an organ's files in the zip; `{file}` is the file's name.")
    also: tuple[str, ...] = Field(default=(), description="Regular expressions of other files that are taken.")
    largest_mb: float = Field(gt=0, description="No file that is taken is larger.")
    total_gb: float = Field(gt=0, description="Nor are all of them together.")
    preset: str = Field(description="As which the files are read, in `--data FOLDER:PRESET`.")


class Downloads(Config):
    """The content of a plugin's `downloads.json`."""

    datasets: dict[str, Dataset]
    structures: dict[str, tuple[str, ...]] = Field(description="The names of the files, without .nii.gz, by list.")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganFiles:
    """An organ as datasets have it: the plugin's name, and the names of its files (two where it is there twice)."""

    organ: str
    files: tuple[str, ...]
    downloads: Path | None


def organ_files(catalog: Catalog, name: str) -> OrganFiles:
    """Look an organ up among the plugins.

    Raises:
        PluginNotFoundError, PluginCollisionError: there is no such organ.
        PluginRaisedError: its plugin failed.
    """
    entry = catalog.find("organ", name)
    try:
        organ: FileOrgan = entry.plugin.build(entry.plugin.config())
        downloads = getattr(organ, "downloads", None)
        files = [organ.tables.file.format(side=side) for side in organ.sides or (None,)] if downloads else []
    except Exception as error:
        raise PluginRaisedError(str(entry), "building it", error) from error
    return OrganFiles(organ=entry.name, files=tuple(dict.fromkeys(files)), downloads=downloads)


def read_downloads(path: Path) -> Downloads:
    """Read a plugin's list of datasets.

    Raises:
        CorruptFileError: it is not one; the text says where.
    """
    try:
        return Downloads.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CorruptFileError(f"{path}: {where}: {first['msg']}; install the plugin again") from error
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path}: not a list of datasets ({error}); install the plugin again") from error


def datasets_of(organ: OrganFiles) -> dict[str, Dataset]:
    """Return the datasets that have an organ, the smallest first.

    Raises:
        ConfigError: its plugin knows none.
    """
    if organ.downloads is None:
        raise ConfigError(f"the plugin of organ '{organ.organ}' knows no public data; give your own with --data")
    known = read_downloads(organ.downloads)
    stems = {file.removesuffix(".nii.gz") for file in organ.files}
    found = {name: each for name, each in known.datasets.items() if stems <= set(known.structures[each.structures])}
    if not found:
        near = difflib.get_close_matches(organ.organ.replace("-", "_"), sorted(set().union(*known.structures.values())))
        hint = f"; near are {', '.join(each.replace('_', '-').lower() for each in near)}" if near else ""
        raise ConfigError(
            f"no public dataset that is known has {organ.organ} ({', '.join(sorted(known.datasets))} were looked at)"
            f"{hint}; give your own data with --data"
        )
    return dict(sorted(found.items(), key=lambda item: item[1].archive.bytes))


def choose(datasets: dict[str, Dataset], name: str | None, organ: str) -> str:
    """Return the name of the dataset that was asked for.

    Raises:
        ConfigError: none was, or it is not one of these; the text lists them.
    """
    offered = ", ".join(f"{each} ({dataset.archive.bytes / 1e9:.1f} GB)" for each, dataset in datasets.items())
    if name is None:
        raise ConfigError(f"say from where, as in `shapegen fetch {organ} --from {next(iter(datasets))}`: {offered}")
    if name not in datasets:
        near = difflib.get_close_matches(name, datasets, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"no dataset '{name}' with {organ}.{hint} There are {offered}")
    return name
