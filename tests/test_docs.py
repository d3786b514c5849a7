"""The documentation holds: its commands, settings, code, links, tables and its example plugins."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer.main
import yaml
from distributions import install
from typer.testing import CliRunner

import shapegen
from shapegen import hookspecs
from shapegen.cli import app, options
from shapegen.discovery import HEAVY, discover
from shapegen.errors import ShapegenError
from shapegen.hookspecs import KINDS
from shapegen.registry import Catalog
from shapegen.settings import load_config

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MIXER = ROOT / "docs" / "examples" / "shapegen-mixer"
FENCE = re.compile(r"^```(\w*)\s*$")
MARK = re.compile(r"^<!-- (.+) -->$")
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; `mark` is the comment on the line before it."""

    page: Path
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    start, language = None, ""
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if start is None and fence:
            start, language = number, fence.group(1)
        elif start is not None and line == "```":
            found = MARK.match(lines[start - 1]) if start else None
            yield Block(
                page, start + 1, language, found.group(1) if found else "", "\n".join(lines[start + 1 : number])
            )
            start = None
    assert start is None, f"{page}: a fence opens in line {start} and never closes"


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    kept, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def calls(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of each `shapegen ...` in a line of shell."""
    if not re.match(r"\s*(\$ |pip |[A-Z_]+=\S+ |shapegen )", line):
        return
    command: list[str] = []
    for token in [*shlex.split(line, comments=True), "&&"]:
        if token not in ("&&", ";", "|", "$"):
            command.append(token)
            continue
        while command and re.fullmatch(r"[A-Z_]+=\S*", command[0]):
            command.pop(0)
        if command[:1] == ["shapegen"]:
            yield tuple(command[1:])
        command = []


def commands() -> Iterator[tuple[str, bool, tuple[str, ...]]]:
    for block in BLOCKS:
        if block.language in ("", "sh", "bash"):
            for line in block.text.replace("\\\n", " ").splitlines():
                for arguments in calls(line):
                    yield str(block), block.mark == "run", arguments
    for page in PAGES:
        for span in re.findall(r"`(shapegen [^`\n]+ --?\w[^`\n]*)`", prose(page)):
            for arguments in calls(span):
                yield page.name, False, arguments


COMMANDS = list(commands())


def named(cases: list) -> list:
    return [pytest.param(*case[1:], id=f"{case[0]} {' '.join(case[-1])}") for case in cases]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory) -> Iterator[Path]:
    """A folder on sys.path with the two example plugins, installed as their pyproject.toml says."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(MIXER / "shapegen_mixer", site / "shapegen_mixer", ignore=shutil.ignore_patterns("__pycache__"))
    install_project(site, (MIXER / "pyproject.toml").read_text(encoding="utf-8"))
    install_project(site, readme_plugin("pyproject.toml"), {"shapegen_gru": readme_plugin("shapegen_gru.py")})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.delenv("SHAPEGEN_PLUGINS", raising=False)
        yield site
    for name in [name for name in sys.modules if name.split(".")[0] in ("shapegen_mixer", "shapegen_gru")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def catalog(plugins) -> Catalog:
    return discover()


def install_project(site: Path, pyproject: str, modules: dict[str, str] | None = None) -> None:
    project = tomllib.loads(pyproject)["project"]
    points = project["entry-points"]["shapegen"]
    requires = project["dependencies"]
    install(site, project["name"], points=points, modules=modules, version=project["version"], requires=requires)


def readme_plugin(file: str) -> str:
    (block,) = [block for block in BLOCKS if block.mark == f"plugin: {file}"]
    return block.text + "\n"


# --- commands and settings ---


def parse(arguments: tuple[str, ...]) -> dict[str, object]:
    """Parse a command line without executing it; return the parameters."""
    group = typer.main.get_command(app)
    name, *rest = arguments
    assert name in group.commands, f"there is no command '{name}'"
    command = group.commands[name]
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
    return set(json.loads((ROOT / "organs/shapegen_organs/liver_sources.json").read_text())["presets"])


@pytest.mark.parametrize(("_", "arguments"), named(COMMANDS))
def test_command_is_one_that_works(_, arguments, catalog, tmp_path):
    check(arguments, catalog, tmp_path)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("shapegen rum --organ liver", AssertionError),
        ("shapegen run --orgn liver", typer._click.exceptions.UsageError),
        ("pip install -e . && shapegen run --organ", typer._click.exceptions.UsageError),
        ("shapegen fit", typer._click.exceptions.UsageError),
        ("shapegen sample r -n none", typer._click.exceptions.UsageError),
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


@pytest.mark.parametrize("arguments", [pytest.param(c[2], id=" ".join(c[2])) for c in COMMANDS if c[1]])
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
    from shapegen.data.sources import Fix, Preset, Source, read_sources

    data = yaml.safe_load(block.text)["sources"]
    for source in data:
        (tmp_path / source["path"]).mkdir(parents=True)
    (tmp_path / "sources.yaml").write_text(block.text, encoding="utf-8")
    sources = read_sources(tmp_path / "sources.yaml", dict.fromkeys(presets(), Preset()))
    assert [Path(source.path) for source in sources] == [tmp_path / source["path"] for source in data]
    text = prose(block.page)
    assert [key for model in (Source, Fix) for key in model.model_fields if f"`{key}`" not in text] == []


# --- hooks ---


def hooks() -> dict[str, inspect.Signature]:
    members = inspect.getmembers(hookspecs, inspect.isfunction)
    return {name: inspect.signature(each) for name, each in members if name.startswith("shapegen_")}


def plugin_sections() -> dict[str, tuple[list[str], str]]:
    """Return for each hook that has a heading its documented arguments and its text."""
    parts = re.split(
        r"^### (shapegen_\w+)\(([^)]*)\)$", (ROOT / "docs/plugins.md").read_text(encoding="utf-8"), flags=re.M
    )
    rows = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    return {name: ([each.strip() for each in given.split(",") if each.strip()], text) for name, given, text in rows}


def test_every_hook_has_its_heading():
    assert set(plugin_sections()) == set(hooks())
    assert set(KINDS.values()) < set(hooks())


@pytest.mark.parametrize("hook", hooks())
def test_hook_is_documented_with_its_arguments(hook):
    assert plugin_sections()[hook][0] == list(hooks()[hook].parameters)


@pytest.mark.parametrize(("kind", "hook"), KINDS.items())
def test_build_is_documented_with_its_arguments(kind, hook, catalog):
    (documented,) = re.findall(r"^`build\((.*)\) -> (.+)`$", plugin_sections()[hook][1], flags=re.M)
    specified = re.search(r"`build\((.*?)\) -> (.+?)`", getattr(hookspecs, hook).__doc__)
    assert specified
    assert documented == specified.groups()
    names = re.findall(r"(\w+)(?:: [\w.]+)?(?:, |$)", documented[0].replace("*, ", ""))
    for entry in catalog.entries(kind):
        assert list(inspect.signature(entry.plugin.build).parameters) == names, entry


def test_the_light_module_rule_names_every_heavy_module():
    text = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")
    (rule,) = re.findall(r"\*\*A light module\.\*\*(.*?)\n\n", text, flags=re.S)
    assert [name for name in HEAVY if {"skimage": "scikit-image"}.get(name, name) not in rule] == []


# --- code ---

PYTHON = [block for block in BLOCKS if block.language == "python"]


@pytest.mark.parametrize("block", [block for block in PYTHON if block.mark == "run"], ids=str)
def test_marked_code_runs(block, plugins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "assert " in block.text
    script = tmp_path / "block.py"
    script.write_text(block.text, encoding="utf-8")
    runpy.run_path(str(script))


def misuses(source: str) -> list[str]:
    """Name what a block imports that is not there, and calls of shapegen's functions that do not fit them."""
    wrong = []
    known: dict[str, object] = {"shapegen": shapegen}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("shapegen"):
            module = importlib.import_module(node.module)
            wrong += [f"{node.module}.{alias.name}" for alias in node.names if not hasattr(module, alias.name)]
            known |= {alias.name: getattr(module, alias.name, None) for alias in node.names}
        elif isinstance(node, ast.Import):
            wrong += [alias.name for alias in node.names if find_spec(alias.name) is None]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function: object = None
        if isinstance(node.func, ast.Name):
            function = known.get(node.func.id)
        elif (
            isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "shapegen"
        ):
            function = getattr(shapegen, node.func.attr, None) or builtins.print
            wrong += [] if hasattr(shapegen, node.func.attr) else [f"shapegen.{node.func.attr}"]
        if inspect.isfunction(function):
            keywords = {each.arg: None for each in node.keywords if each.arg}
            try:
                inspect.signature(function).bind(*node.args, **keywords)
            except TypeError as error:
                wrong.append(f"{ast.unparse(node)}: {error}")
    return wrong


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_code_fits_the_interface(block, plugins):
    assert misuses(block.text) == []


def test_the_check_sees_code_that_does_not_fit():
    source = "import shapegen\nfrom shapegen.store import read_jsn\nshapegen.lern('r')\nshapegen.sample('r', count=3)"
    assert len(misuses(source)) == 3


# --- links and tables ---


def anchors(page: Path) -> set[str]:
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", prose(page), flags=re.M):
        slug = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        found.add(slug if slug not in found else f"{slug}-{sum(each.startswith(slug) for each in found)}")
    return found


def links(page: Path, *, pictures: bool) -> Iterator[str]:
    for sign, target in LINK.findall(prose(page)):
        if bool(sign) is pictures and not re.match(r"https?:", target):
            yield target


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
    targets = links(ROOT / "docs/index.md", pictures=False)
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} <= set(targets)


def test_every_preset_is_in_the_table():
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^## Presets\n\n((?:\|.*\n)+)", text, flags=re.M)
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert sorted(name for row in rows for name in re.findall(r"`([\w-]+)`", row)) == sorted(presets())


def test_data_page_has_the_formats_and_bounds_of_the_code(catalog):
    from shapegen.data import align, meshes, nifti, placement
    from shapegen.stages.prepare import FEWEST

    text = prose(ROOT / "docs/data.md")
    liver = catalog.find("organ", "liver").plugin.config()
    assert [suffix for suffix in (*nifti.SUFFIXES, *meshes.SUFFIXES) if f"`{suffix}`" not in text] == []
    assert FEWEST == 4
    for stated in (
        f"{liver.smallest_ml:.0f} to {liver.largest_ml:.0f} mL",
        f"({liver.voxel_mm} mm)",
        f"0 to {nifti.LARGEST_LABEL}",
        f"below {align.CLEAR * 100:.0f} % of",
        f"or {align.CLEAR_OF_FEW * 100:.0f} % where the mean is one of\n   fewer than {align.FEW} shapes",
        f"from there to {align.NOTABLE * 100:.0f} %",
        f"±{placement.CUBE}",
        "fewer than four\nshapes",
    ):
        assert stated in text, stated


# --- example plugins ---


def conforms(catalog: Catalog, name: str, options: dict[str, int]) -> None:
    import torch

    plugin = catalog.find("denoiser", name).plugin
    for tokens, width in ((9, 8), (5, 7), (1, 3)):
        torch.manual_seed(0)
        network = plugin.build(plugin.config(**options), tokens=tokens, width=width)
        x, t = torch.randn(3, tokens, width), torch.linspace(-1.6, 1.1, 3)
        out = network(x, t, None)
        assert out.shape == x.shape
        assert (out - network(x, t + 1, None)).abs().mean() > 1e-3
        torch.testing.assert_close(out[:1], network(x[:1], t[:1], None))


@pytest.mark.parametrize(("name", "distribution"), [("gru", "shapegen-gru"), ("mixer", "shapegen-mixer")])
def test_example_plugin_is_listed_and_light(name, distribution, catalog):
    result = CliRunner().invoke(app, ["list-plugins", "--kind", "denoiser", "--json"])
    (row,) = [row for row in json.loads(result.stdout)["plugins"] if row["name"] == name]
    assert (row["distribution"], row["version"], row["imports"]) == (distribution, "0.1.0", [])
    tops = {alias.split(".")[0] for alias in top_level_imports(Path(sys.modules[row["module"]].__file__))}
    assert not tops & set(HEAVY)


def top_level_imports(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize(("name", "options"), [("gru", {"hidden": 16}), ("mixer", {"depth": 2, "hidden": 16})])
def test_example_plugin_conforms(name, options, catalog):
    conforms(catalog, name, options)


@pytest.mark.parametrize("name", ["gru", "mixer"])
def test_run_builds_an_example_plugin_and_records_it(name, catalog, tmp_path):
    from shapegen.run import Run

    config = load_config(catalog, flags={"denoiser": name})
    with Run.create(tmp_path / "r", config, catalog=catalog) as run:
        assert run.build("denoiser", run.config.denoiser, tokens=9, width=8) is not None
        assert run.manifest["plugins"][f"denoiser/{name}"]["distribution"] == f"shapegen-{name}"


def test_readme_plugin_has_20_lines():
    assert len([line for line in readme_plugin("shapegen_gru.py").splitlines() if line.strip()]) <= 20


@pytest.mark.slow
def test_example_passes_its_own_test(plugins, tmp_path):
    copy = shutil.copytree(MIXER / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(plugins), *filter(None, sys.path)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(copy)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_example_installs_as_a_stranger_would(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling is not installed, and nothing is downloaded in tests")
    source = shutil.copytree(MIXER, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(source)], check=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *filter(None, sys.path)])}
    script = "from shapegen.cli import app; app(['show', 'denoiser/mixer'])"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "from shapegen-mixer 0.1.0 (mixer = shapegen_mixer)" in done.stdout
