"""The wanted files out of a zip whose content is not trusted: names, sizes and checksums are looked at before."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from shapegen.errors import DownloadError
from shapegen.fetch.catalogue import Dataset

UNREADABLE = (BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, zlib.error)
"""What zipfile raises for damaged, encrypted and strangely compressed members."""
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in the zip that is wanted, and its place below the data's folder."""

    info: ZipInfo
    target: str


def extract(
    path: Path, dataset: Dataset, files: Sequence[str], folder: Path, *, room: Callable[[int], None]
) -> dict[str, int]:
    """Take an organ's files out of an archive; those that are there already stay. Return their sizes by place.

    Args:
        path: the archive.
        dataset: says where in it the files are, and how large they may be.
        files: names of the organ's files.
        folder: where they go; each appears whole or not at all.
        room: is told the bytes that will be written, and raises if there is no space.

    Raises:
        DownloadError: the archive is damaged, holds names or sizes that no good archive has, or nothing of the organ.
    """
    try:
        with ZipFile(path) as archive:
            members = wanted(archive.infolist(), dataset, files)
            missing = [each for each in members if not is_there(each, folder)]
            room(sum(each.info.file_size for each in missing))
            for each in missing:
                _write(archive, each, folder / each.target)
    except (*UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before the file's beginning
            raise
        unchecked = dataset.archive.hash is None
        if unchecked:
            path.unlink()
        advice = "it was thrown away, run the same command again" if unchecked else "delete it to get it again"
        raise DownloadError(f"{path}: not a whole zip ({error}); {advice}") from error
    return {each.target: each.info.file_size for each in members}


def wanted(infos: Sequence[ZipInfo], dataset: Dataset, files: Sequence[str]) -> list[Member]:
    """Choose the organ's files and those that belong to all organs.

    Raises:
        DownloadError: as `extract`.
    """
    alternatives = "|".join(re.escape(file) for file in files)
    organ = re.compile(dataset.member.replace("{file}", f"(?:{alternatives})"))
    pattern = re.compile(f"(?:[^/]+/)?({'|'.join((organ.pattern, *dataset.also))})")
    members: dict[str, Member] = {}
    for info in infos:
        _check_name(info.orig_filename)
        found = pattern.fullmatch(info.filename)
        if not found or info.is_dir():
            continue
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise DownloadError(f"the archive's {info.filename} is a link or device, not a file; nothing was extracted")
        if found[1] in members:
            raise DownloadError(f"the archive holds {found[1]} twice; nothing was extracted")
        members[found[1]] = Member(info=info, target=found[1])
    if not any(organ.fullmatch(target) for target in members):
        raise DownloadError(f"the archive holds no {' or '.join(files)}; it has {len(infos)} other entries")
    _check_sizes(list(members.values()), dataset)
    return list(members.values())


def is_there(member: Member, folder: Path) -> bool:
    """Tell whether a file was extracted before, by its size and checksum."""
    place = folder / member.target
    if not place.is_file() or place.stat().st_size != member.info.file_size:
        return False
    return zlib.crc32(place.read_bytes()) == member.info.CRC


def _check_name(name: str) -> None:
    parts = PurePosixPath(name).parts
    bad = ".." in parts or name.startswith("/") or "\\" in name or "\0" in name or PureWindowsPath(name).drive
    if bad:
        raise DownloadError(f"the archive holds a name that leads out of its folder: {name!r}; nothing was extracted")


def _check_sizes(members: Sequence[Member], dataset: Dataset) -> None:
    """Stop before a zip bomb. zipfile never gives more than the sizes that are looked at here."""
    largest = max(members, key=lambda each: each.info.file_size)
    total = sum(each.info.file_size for each in members)
    if largest.info.file_size > dataset.largest_mb * 1e6:
        raise DownloadError(
            f"the archive's {largest.target} would have {largest.info.file_size / 1e6:.0f} MB, expected at most "
            f"{dataset.largest_mb:g}; nothing was extracted"
        )
    if total > dataset.total_gb * 1e9:
        raise DownloadError(
            f"the archive's {len(members)} files would have {total / 1e9:.0f} GB, expected at most "
            f"{dataset.total_gb:g}; nothing was extracted"
        )


def _write(archive: ZipFile, member: Member, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        with archive.open(member.info) as source, beside.open("wb") as out:
            shutil.copyfileobj(source, out, CHUNK)  # the checksum is compared at the end
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
