"""Packages that `shapegen new-plugin` wrote, on sys.path as pip would install them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from distributions import install
from shapegen.new_plugin import files_of, names_of, write_package


def generate(site: Path, kind: str, name: str) -> Path:
    """Write a package beside `site`, and install it there; return its folder."""
    names = names_of(kind, name)
    folder = site.with_name(f"{site.name}-packages") / names.distribution
    files = files_of(names)
    write_package(folder, files)
    for path, text in files.items():
        if path.startswith(f"{names.package}/"):
            (site / path).parent.mkdir(exist_ok=True)
            (site / path).write_text(text, encoding="utf-8")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    install(
        site,
        project["name"],
        points=project["entry-points"]["shapegen"],
        version=project["version"],
        requires=project["dependencies"],
    )
    return folder


def python(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python where the packages of `site` are installed too; the output is in `stdout`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)])}
    environment.pop("SHAPEGEN_PLUGINS", None)
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
