"""`shapegen list-plugins` and `shapegen show`: what is installed, and what can be set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from shapegen.cli.guard import guarded

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from shapegen.registry import Catalog, Entry

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of", "pattern": "matches"}


@guarded
def list_plugins(
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as denoiser.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also show entry points and what they import.")] = False,
) -> None:
    """List the plugins, where they come from, and those that failed to load."""
    from shapegen.discovery import discover

    catalog = discover()
    entries = catalog.entries(kind)
    rows = [_row(entry, catalog) for entry in entries]
    if as_json:
        failures = [{**failure.source.to_json(), "error": failure.error} for failure in catalog.failures]
        typer.echo(json.dumps({"plugins": rows, "failures": failures}, indent=1))
        return
    rare = [] if kind or everything else [entry.kind for entry in entries if entry.plugin.rare]
    rows = [row for row, entry in zip(rows, entries, strict=True) if not (rare and entry.plugin.rare)]
    width = max((len(row["name"]) for row in rows), default=0)
    shown = ""
    for row in rows:
        if row["kind"] != shown:
            typer.echo(f"{row['kind']}:")
            shown = row["kind"]
        typer.echo(f"  {row['name']:{width}}  {row['summary']}  [{row['distribution']} {row['version']}]")
        if row["collides"]:
            typer.echo(f"  {'':{width}}  offered more than once: write '{row['distribution']}:{row['name']}'")
        if everything:
            typer.echo(f"  {'':{width}}  {row['entry_point']} = {row['module']}")
        if row["imports"]:
            typer.echo(f"  {'':{width}}  slow to list: imports {', '.join(row['imports'])} when it is registered")
    for each in dict.fromkeys(rare):
        typer.echo(f"{rare.count(each)} more of kind {each}: shapegen list-plugins --kind {each}")
    for failure in catalog.failures:
        typer.secho(f"failed {failure}", fg=typer.colors.RED)


def _row(entry: Entry, catalog: Catalog) -> dict[str, Any]:
    same = [other for other in catalog.entries(entry.kind) if other.name == entry.name]
    heavy = next(loaded.heavy for loaded in catalog.loaded if loaded.source == entry.source)
    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.plugin.summary,
        **entry.source.to_json(),
        "collides": len(same) > 1,
        "imports": list(heavy),
    }


@guarded
def show(plugin: Annotated[str, typer.Argument(metavar="KIND/NAME", help="Such as denoiser/transformer.")]) -> None:
    """Show a plugin's summary, source and options."""
    from shapegen.discovery import discover
    from shapegen.errors import ConfigError

    kind, slash, name = plugin.partition("/")
    if not slash or not name:
        raise ConfigError(
            f"expected KIND/NAME, such as denoiser/transformer, got '{plugin}'; see `shapegen list-plugins`"
        )
    entry = discover().find(kind, name)
    typer.echo(f"{entry.kind}/{entry.name}: {entry.plugin.summary}\nfrom {entry.source}")
    options = list(_options(entry.plugin.config))
    typer.echo("options:" if options else "no options")
    for title, facts, description in options:
        typer.echo(f"  {title}: {facts}")
        if description:
            typer.echo(f"      {description}")


def _options(config: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    from pydantic import BaseModel

    for name, field in config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _options(field.annotation, f"{prefix}{name}.")
            continue
        default = "required" if field.is_required() else f"default {field.get_default(call_default_factory=True)!r}"
        yield f"{prefix}{name}", ", ".join([_type(field.annotation), *_bounds(field), default]), field.description or ""


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(repr(value) for value in get_args(annotation))
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("NoneType", "None")


def _bounds(field: FieldInfo) -> list[str]:
    return [
        f"{sign} {getattr(each, name)}"
        for each in field.metadata
        for name, sign in _BOUNDS.items()
        if getattr(each, name, None) is not None
    ]
