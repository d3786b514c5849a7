"""The documentation holds: its commands, settings, links and tables."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from pathlib import Path

import pytest
import typer
import typer.main
import yaml
from typer.testing import CliRunner

from pages import (  # noqa: F401
    BLOCKS,
    COMMANDS,
    DOCS,
    EXAMPLES,
    PAGES,
    ROOT,
    blocks_of,
    calls,
    fixture_catalog,
    fixture_plugins,
    links,
    prose,
)
from shapegen.cli import app, options
from shapegen.errors import ShapegenError
from shapegen.registry import Catalog
from shapegen.settings import load_config

UsageError = typer.BadParameter.__base__


def named(cases: list) -> list:
    return [pytest.param(case[-1], id=f"{case[0]} {' '.join(case[-1])}") for case in cases]


def parse(arguments: tuple[str, ...]) -> dict[str, object]:
    """Parse a command line without executing it; return the parameters."""
    group = typer.main.get_command(app)
    name, *rest = arguments
    assert name in group.commands, f"there is no command '{name}'"
    command = group.commands[name]
    if hasattr(command, "commands"):  # a group of commands, such as `survey`
        name, *rest = rest
        assert name in command.commands, f"there is no command '{arguments[0]} {name}'"
        command = command.commands[name]
    with command.make_context(name, rest) as context:
        return dict(context.params)


def check(arguments: tuple[str, ...], catalog: Catalog, folder: Path) -> None:
    """Raise unless the command line is one that works: options, settings, plugins, presets, kinds."""
    if arguments[0].startswith("-") or "--help" in arguments:
        assert CliRunner().invoke(app, list(arguments)).exit_code == 0
        return
    given = parse(arguments)
    if arguments[0] in ("list-plugins", "show"):
        kind, _, name = (given.get("plugin") or given.get("kind") or "").partition("/")
        assert catalog.find(kind, name) if name else catalog.entries(kind or None)
        return
    flags = {name: given[name] for name in inspect.signature(options.flags).parameters if name in given}
    file = given.get("config")
    if file is not None:
        (folder / file).write_text("sample: {count: 5}\n")
    load_config(catalog, file=file and folder / file, flags=options.flags(**flags), sets=given.get("sets") or ())
    for source in given.get("data") or ():
        check_preset(source)


def check_preset(source: str) -> None:
    from shapegen.data.sources import PRESET_NAME

    _, colon, preset = source.rpartition(":")
    assert not colon or (PRESET_NAME.fullmatch(preset) and preset in presets()), f"{source}: no such preset"


def presets() -> set[str]:
    return set(json.loads((ROOT / "organs/shapegen_organs/datasets.json").read_text())["datasets"])


@pytest.mark.parametrize("arguments", named(COMMANDS))
def test_command_is_one_that_works(arguments, catalog, tmp_path):
    check(arguments, catalog, tmp_path)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("shapegen rum --organ liver", AssertionError),
        ("shapegen run --orgn liver", UsageError),
        ("pip install -e . && shapegen run --organ", UsageError),
        ("shapegen fit", UsageError),
        ("shapegen survey ask STUDY", AssertionError),
        ("shapegen survey serve STUDY --prt 8000", UsageError),
        ("shapegen sample r -n none", UsageError),
        ("shapegen run --denoiser transfomer", ShapegenError),
        ("shapegen run --set denoiser.dpeth=3", ShapegenError),
        ("shapegen prepare r --set diffusion.stepz=3", ShapegenError),
        ("shapegen evaluate r --metrics mmd,coverag", ShapegenError),
        ("shapegen show denoiser/transfomer", ShapegenError),
        ("shapegen list-plugins --kind denoisers", ShapegenError),
        ("shapegen run --data somewhere:btvc", AssertionError),
    ],
)
def test_the_check_sees_a_command_that_does_not_work(line, error, catalog, tmp_path):
    (arguments,) = calls(line)
    with pytest.raises(error):
        check(arguments, catalog, tmp_path)


def test_commands_are_found():
    assert {arguments[0] for _, _, arguments in COMMANDS} >= {
        "run",
        "prepare",
        "evaluate",
        "sample",
        "show",
        "list-plugins",
    }
    assert sum(marked for _, marked, _ in COMMANDS) >= 5


@pytest.mark.parametrize("arguments", named([case for case in COMMANDS if case[1]]))
def test_marked_command_runs(arguments, tmp_path, monkeypatch, plugins):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()
    assert list(tmp_path.iterdir()) == []


def test_readme_has_the_two_commands():
    lines = [line for block in blocks_of(ROOT / "README.md") for line in block.text.splitlines()]
    assert "pip install -e . && shapegen run --organ liver --denoiser transformer" in lines
    assert "pip install -e '.[test]' && pytest" in lines


def test_extras_that_pages_name_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {
        name for page in PAGES for name in re.findall(r"(?:shapegen|\.)\[(\w+)\]'", page.read_text(encoding="utf-8"))
    }
    assert wanted
    assert wanted <= extras.keys()


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml" and b.mark != "sources"], ids=str)
def test_configuration_is_one_that_works(block, catalog, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(block.text, encoding="utf-8")
    load_config(catalog, file=file)
    for source in yaml.safe_load(block.text).get("data", ()):
        check_preset(source)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.mark == "sources"], ids=str)
def test_sources_file_is_one_that_works(block, tmp_path):
    from shapegen.data.preset import Fix, Preset, Source
    from shapegen.data.sources import read_sources

    data = yaml.safe_load(block.text)["sources"]
    for source in data:
        (tmp_path / source["path"]).mkdir(parents=True)
    (tmp_path / "sources.yaml").write_text(block.text, encoding="utf-8")
    sources = read_sources(tmp_path / "sources.yaml", dict.fromkeys(presets(), Preset()))
    assert [Path(source.path) for source in sources] == [tmp_path / source["path"] for source in data]
    text = prose(block.page)
    assert [key for model in (Source, Fix) for key in model.model_fields if f"`{key}`" not in text] == []


def anchors(page: Path) -> set[str]:
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", prose(page), flags=re.M):
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        found.add(slug if slug not in found else f"{slug}-{sum(each.startswith(slug) for each in found)}")
    return found


def test_pictures_are_there():
    shown = [page.parent / target for page in PAGES for target in links(page, pictures=True)]
    assert shown
    assert [str(picture.relative_to(ROOT)) for picture in shown if not picture.is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    wrong = []
    for target in links(page, pictures=False):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    assert wrong == []


def test_index_lists_every_page():
    docs = ROOT / "docs"
    wanted = {page.relative_to(docs).as_posix() for page in DOCS} - {"index.md"}
    wanted |= {example.relative_to(docs).as_posix() for example in EXAMPLES}
    assert wanted <= set(links(docs / "index.md", pictures=False))


def test_every_preset_of_the_liver_is_named():
    from shapegen_organs.tables import tables_of

    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Presets\n\n(.*?)^## ", text, flags=re.M | re.S)
    assert sorted(tables_of("liver").presets.keys() - set(re.findall(r"`([\w-]+)`", section))) == []


def test_data_page_has_the_formats_and_bounds_of_the_code(catalog):
    from shapegen.data import meshes, nifti, orientation, placement
    from shapegen.stages.prepare import FEWEST

    text = prose(ROOT / "docs/data.md")
    liver = catalog.find("organ", "liver").plugin.config()
    assert [suffix for suffix in (*nifti.SUFFIXES, *meshes.SUFFIXES) if f"`{suffix}`" not in text] == []
    assert FEWEST == 4
    for stated in (
        f"{liver.smallest_ml:.0f} to {liver.largest_ml:.0f} mL",
        f"({liver.voxel_mm} mm)",
        f"0 to {nifti.LARGEST_LABEL}",
        f"1 in {1 / orientation.RARE:.0f}",
        f"Above a confidence of {orientation.CLEAR * 100:.0f} %",
        f"from {orientation.NOTABLE * 100:.0f} % on",
        f"±{placement.CUBE}",
        "fewer than four\nshapes",
    ):
        assert stated in text, stated
