"""What lies in a folder of fetched data: of which dataset, under which licence, which files of which organs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from shapegen.errors import DownloadError
from shapegen.fetch.catalogue import Dataset
from shapegen.plugin import Config
from shapegen.store import read_json, write_json

NAME = "fetched.json"


class Receipt(Config):
    """The content of `fetched.json`."""

    dataset: str = Field(description="Its name.")
    summary: str
    page: str
    licence: str
    licence_url: str
    citation: str
    archive: str = Field(description="The archive's URL.")
    hash: str | None = Field(description="The archive's, as published.")
    organs: dict[str, dict[str, int]] = Field(default_factory=dict, description="Sizes of the files, by organ.")

    def has(self, organ: str, folder: Path) -> bool:
        """Tell whether all files of an organ are there."""
        sizes = self.organs.get(organ, {})
        places = {folder / name: size for name, size in sizes.items()}
        return bool(sizes) and all(file.is_file() and file.stat().st_size == size for file, size in places.items())


def open_receipt(folder: Path, name: str, dataset: Dataset) -> Receipt:
    """Return the folder's receipt, or begin one.

    Raises:
        DownloadError: the folder holds something else, which might be overwritten.
    """
    new = Receipt(
        dataset=name,
        summary=dataset.summary,
        page=dataset.page,
        licence=dataset.licence.name,
        licence_url=dataset.licence.url,
        citation=dataset.citation,
        archive=dataset.archive.url,
        hash=dataset.archive.hash,
    )
    path = folder / NAME
    if not path.exists():
        own = (dataset.archive.name, f"{dataset.archive.name}.part", f"{dataset.archive.name}.part.json", "lock")
        others = sorted(each.name for each in folder.iterdir() if each.name not in own) if folder.is_dir() else []
        if others:
            raise DownloadError(
                f"{folder} holds other files, such as {others[0]}, and could be overwritten; choose another --to"
            )
        return new
    try:
        old = Receipt.model_validate(read_json(path))
    except ValidationError as error:
        raise DownloadError(f"{path}: not written by this version of shapegen; choose another --to") from error
    if (old.dataset, old.archive, old.hash) != (new.dataset, new.archive, new.hash):
        raise DownloadError(
            f"{folder} holds {old.dataset} from {old.archive}, not {name} from {new.archive}; choose another --to"
        )
    return old


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Write `fetched.json`."""
    write_json(folder / NAME, receipt.model_dump())
