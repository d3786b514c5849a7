"""The documentation's pages as data: blocks, prose, links, commands; and its example plugins, installed."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from distributions import install
from generated import generate
from shapegen.discovery import discover
from shapegen.registry import Catalog

ROOT = Path(__file__).resolve().parents[1]
DOCS = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "plugins").glob("*.md"))]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
EXAMPLES = sorted((ROOT / "docs" / "examples").iterdir())
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


@pytest.fixture(scope="module", name="plugins")
def fixture_plugins(tmp_path_factory) -> Iterator[Path]:
    """A folder on sys.path with the example plugins, installed as their pyproject.toml says."""
    site = tmp_path_factory.mktemp("site")
    for example in EXAMPLES:
        package = example.name.replace("-", "_")
        shutil.copytree(example / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
        install_project(site, (example / "pyproject.toml").read_text(encoding="utf-8"))
    generate(site, "denoiser", "my-mixer")  # with which docs/plugins.md begins
    install_project(site, readme_plugin("pyproject.toml"), {"shapegen_gru": readme_plugin("shapegen_gru.py")})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.delenv("SHAPEGEN_PLUGINS", raising=False)
        yield site
    ours = {"shapegen_gru", "shapegen_my_mixer", *(example.name.replace("-", "_") for example in EXAMPLES)}
    for name in [name for name in sys.modules if name.split(".")[0] in ours]:
        del sys.modules[name]


@pytest.fixture(scope="module", name="catalog")
def fixture_catalog(plugins) -> Catalog:
    return discover()


def install_project(site: Path, pyproject: str, modules: dict[str, str] | None = None) -> None:
    project = tomllib.loads(pyproject)["project"]
    points = project["entry-points"]["shapegen"]
    requires = project["dependencies"]
    install(site, project["name"], points=points, modules=modules, version=project["version"], requires=requires)


def readme_plugin(file: str) -> str:
    (block,) = [block for block in BLOCKS if block.mark == f"plugin: {file}"]
    return block.text + "\n"


def links(page: Path, *, pictures: bool) -> Iterator[str]:
    for sign, target in LINK.findall(prose(page)):
        if bool(sign) is pictures and not re.match(r"https?:", target):
            yield target
