"""An archive in its place, with the hash that was published: pooch, with a downloader that resumes."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from shapegen.errors import DownloadError
from shapegen.fetch.catalogue import Archive
from shapegen.fetch.meter import metered
from shapegen.fetch.resume import resume
from shapegen.progress import say
from shapegen.store import sha256_file

SPARE_BYTES = 200_000_000
"""Of the disk, that are left to others."""


def get_archive(archive: Archive, folder: Path) -> Path:
    """Download an archive unless it is there, check it, and return its path.

    A transfer that does not have the published hash is thrown away and repeated once.

    Raises:
        DownloadError: it cannot be had as it was published; nothing lies in its place then.
    """
    import pooch

    path = folder / archive.name
    check_space(missing_bytes(archive, folder), folder)
    # pooch tells of every step what we say ourselves
    pooch.get_logger().setLevel(logging.ERROR)
    keeper = pooch.Pooch(
        path=folder,
        base_url="",
        registry={archive.name: archive.hash},
        urls={archive.name: archive.url},
        retry_if_failed=1,
    )
    if archive.hash and path.exists():
        say(f"checking {path}")
    transfers = 0
    with metered(archive.name) as meter:

        def download(url: str, output: str, _: Any) -> None:
            nonlocal transfers
            transfers += 1
            if transfers > 1:
                say(f"{archive.name}: what came is not the published file; downloading it once more")
            part = path.with_name(f"{archive.name}.part")
            resume(url, output, part=part, size=archive.bytes, meter=meter)

        try:
            keeper.fetch(archive.name, downloader=download)
        except ValueError as error:
            path.unlink(missing_ok=True)  # a file of that name that was there before and is not the published one
            raise DownloadError(
                f"{archive.url}: came twice with another hash than the published {archive.hash}, and was thrown away; "
                "a proxy may have changed it, or the published file was replaced: look at its page"
            ) from error
    if archive.hash is None:
        say(f"{archive.name}: its hash was never published or is not known here; its sha256 is {sha256_file(path)}")
    return path


def missing_bytes(archive: Archive, folder: Path) -> int:
    """Return how much of an archive is still to come."""
    whole, part = folder / archive.name, folder / f"{archive.name}.part"
    there = next((each.stat().st_size for each in (whole, part) if each.exists()), 0)
    return max(archive.bytes - there, 0)


def check_space(needed: int, folder: Path) -> None:
    """Refuse to begin what cannot end.

    Raises:
        DownloadError: the disk of the folder, or of the first of its parents that exists, has less space.
    """
    place = next(each for each in (folder, *folder.resolve().parents) if each.exists())
    free = shutil.disk_usage(place).free
    if needed and free < needed + SPARE_BYTES:
        raise DownloadError(
            f"{folder}: {(needed + SPARE_BYTES) / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; "
            "free some space, or choose another disk with --to"
        )
