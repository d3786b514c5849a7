"""Everything that `shapegen curate` does with data: sort, repair, write the curated folder and its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shapegen.curation.classifier import load_classifier
from shapegen.curation.curate import curate, limits
from shapegen.curation.examine import checks
from shapegen.curation.folder import check_folder, decided_examples, set_aside, write_curation
from shapegen.curation.report import write_lists, write_report
from shapegen.discovery import discover
from shapegen.errors import NoUsableDataError
from shapegen.parallel import worker_count
from shapegen.progress import Bars
from shapegen.settings import load_config, validate_options


def sort_data(
    data: Sequence[str],
    out: Path,
    *,
    organ: str | None = None,
    file: Path | None = None,
    sets: Sequence[str] = (),
    workers: int = 0,
) -> list[str]:
    """Sort data into a curated folder; what was measured before, in an interrupted call, is not measured again.

    Args:
        data: `PATH[:PRESET]`.
        out: the curated folder.
        organ: the organ's plugin; None: as configured.
        file: configuration file.
        sets: `key=value`, as for `shapegen run`; the sections `organ` and `curate` count.
        workers: processes; 0: one for each core.

    Returns:
        What there is to say, line by line.

    Raises:
        NoUsableDataError: there is nothing to sort.
        ConfigError, RunFolderError: settings or folder are not right.
    """
    catalog = discover()
    config = load_config(catalog, file=file, flags={"organ": organ} if organ else {}, sets=sets)
    entry = catalog.find("organ", config.organ.name)
    reader = entry.plugin.build(validate_options(entry, config.organ.options))
    check_folder(out, data)
    items, unusable = reader.scan(data)
    items, aside = set_aside(items)
    unusable = [*unusable, *(item.options["left_out"] for item in aside)]
    if not items and not unusable:
        raise NoUsableDataError(f"nothing to sort in {', '.join(data)}")
    cache, workers = out / "cache", worker_count(workers, len(items))
    bars = Bars()
    found = curate(
        reader,
        items,
        unusable,
        cache=cache,
        config=config.curate,
        classifier=load_classifier(reader, decided_examples(out, checks())),
        workers=workers,
        progress=bars.bar,
    )
    write_curation(
        out,
        config.organ.name,
        found,
        thresholds=limits(reader, config.curate),
        cache=cache,
        workers=workers,
        progress=bars.bar,
    )
    write_lists(out)
    write_report(out)
    return found.notes()
