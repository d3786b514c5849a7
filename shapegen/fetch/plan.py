"""What a `shapegen fetch` is going to do: shown first, then done."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shapegen.errors import DownloadError, RunFolderError
from shapegen.fetch.catalogue import Dataset, OrganFiles
from shapegen.fetch.download import check_space, get_archive, missing_bytes
from shapegen.fetch.extract import extract
from shapegen.fetch.receipt import open_receipt, write_receipt
from shapegen.lock import Lock
from shapegen.progress import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One dataset, the organs that are wanted of it, and where they will lie."""

    name: str
    dataset: Dataset
    organs: tuple[OrganFiles, ...]
    folder: Path
    keep_archive: bool = False


def default_folder(name: str) -> Path:
    """Return where a dataset lies if nobody says otherwise: in the user's folder for data."""
    import platformdirs

    return platformdirs.user_data_path("shapegen") / "datasets" / name


def absent(plan: Plan) -> list[OrganFiles]:
    """Return the organs that are not there yet.

    Raises:
        DownloadError: the folder holds something else.
    """
    receipt = open_receipt(plan.folder, plan.name, plan.dataset)
    return [organ for organ in plan.organs if not receipt.has(organ.organ, plan.folder)]


def facts(plan: Plan) -> list[str]:
    """Say what will be downloaded, from where, under which licence and to which place."""
    dataset, archive = plan.dataset, plan.dataset.archive
    come = missing_bytes(archive, plan.folder)
    there = f", of which {(archive.bytes - come) / 1e9:.2f} GB are here" if come < archive.bytes else ""
    files = ", ".join(dict.fromkeys(file for organ in plan.organs for file in organ.files))
    rows = {
        "what": f"{dataset.summary} ({dataset.page})",
        "licence": f"{dataset.licence.name} ({dataset.licence.url})",
        "citation": dataset.citation,
        "download": f"{archive.bytes / 1e9:.2f} GB{there}: {archive.url}",
        "check": archive.hash or "none: its hash is not known; the sha256 of what comes will be printed",
        "kept": f"{files} of each subject; the archive is {'kept' if plan.keep_archive else 'deleted afterwards'}",
        "place": str(plan.folder),
    }
    return [plan.name, *(f"  {key:8}  {value}" for key, value in rows.items())]


def commands(plan: Plan) -> list[str]:
    """Return the command line that uses the data, for each organ."""
    data = shlex.quote(f"{plan.folder}:{plan.dataset.preset}")
    return [f"shapegen run --organ {organ.organ} --data {data}" for organ in plan.organs]


def carry_out(plan: Plan, organs: Sequence[OrganFiles]) -> None:
    """Download the archive and take these organs out of it; what an earlier try has done is not done again.

    Raises:
        DownloadError: it cannot be had, or the folder is in use or not ours.
        OSError: the disk is full or the folder cannot be written; running it again goes on.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = Lock(plan.folder)
    except RunFolderError as error:
        raise DownloadError(
            f"{plan.folder} is in use by another shapegen; wait for it or choose another --to"
        ) from error
    try:
        receipt = open_receipt(plan.folder, plan.name, plan.dataset)
        check_space(missing_bytes(plan.dataset.archive, plan.folder), plan.folder)
        write_receipt(plan.folder, receipt)
        path = get_archive(plan.dataset.archive, plan.folder)
        for organ in organs:
            say(f"extracting {', '.join(organ.files)}")
            sizes = extract(
                path, plan.dataset, organ.files, plan.folder, room=lambda needed: check_space(needed, plan.folder)
            )
            receipt = receipt.model_copy(update={"organs": {**receipt.organs, organ.organ: sizes}})
            write_receipt(plan.folder, receipt)
            say(f"{organ.organ}: {len(sizes)} files, {sum(sizes.values()) / 1e6:.1f} MB, in {plan.folder}")
        if not plan.keep_archive:
            path.unlink()
    finally:
        lock.release()
