"""What every command pays for: the light part of shapegen imports nothing heavy. Tested by imports, not by time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shapegen.discovery import HEAVY, discover

SCRIPT = """
import sys
try:
    {code}
except SystemExit as end:
    assert not end.code, end.code
heavy = {heavy!r}
print("HEAVY", [name for name in heavy if name in sys.modules])
"""

COMMANDS = {
    "help": ["--help"],
    "version": ["--version"],
    "list-plugins": ["list-plugins"],
    "list-plugins json": ["list-plugins", "--json"],
    "run help": ["run", "--help"],
    "sample help": ["sample", "--help"],
    "survey help": ["survey", "new", "--help"],
    "show": ["show", "inr/siren"],
}


def imported(code: str) -> str:
    script = SCRIPT.format(code=code, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_command_imports_nothing_heavy(name):
    code = f"from shapegen.cli import app; sys.argv = ['shapegen', *{COMMANDS[name]!r}]; app()"
    assert imported(code) == "HEAVY []"


def test_package_and_catalog_import_nothing_heavy():
    assert imported("import shapegen; shapegen.list_plugins(); from shapegen.settings import load_config") == "HEAVY []"


def test_the_check_sees_a_heavy_import():
    assert imported("import numpy") == "HEAVY ['numpy']"


def test_default_plugins_are_not_marked_as_slow():
    script = "from shapegen.discovery import discover; print([l.heavy for l in discover().loaded if l.heavy])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_default_plugin_module_loads():
    ours = [str(failure) for failure in discover().failures if failure.source.distribution == "shapegen"]
    assert ours == []


def test_the_package_can_be_run_as_a_module():
    done = subprocess.run([sys.executable, "-m", "shapegen", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
