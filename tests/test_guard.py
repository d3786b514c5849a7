"""What a command says of an error that nobody foresaw."""

# ruff: noqa: F811  (fixtures are imported by their names)

from __future__ import annotations

import importlib

import pytest
import typer

from distributions import install, site  # noqa: F401
from shapegen.cli.guard import guarded


@pytest.mark.parametrize("where", ["of a plugin", "of a library that it calls", "of the engine"])
def test_an_unexpected_error_names_the_plugin_in_which_it_arose(site, capsys, where):
    body = "import json\n\ndef wrong():\n    return [][3]\n\ndef deeper():\n    return json.loads('{')\n"
    install(site, "shapegen-odd", points={"odd": "fake_odd"}, modules={"fake_odd": body})
    odd = importlib.import_module("fake_odd")

    def engine():
        raise ValueError("none of theirs")

    wrong, line = {"of a plugin": (odd.wrong, 4), "of a library that it calls": (odd.deeper, 7)}.get(where, (engine, 0))
    with pytest.raises(typer.Exit):
        guarded(wrong)()
    said = capsys.readouterr().err
    assert (f" in fake_odd, line {line}, of shapegen-odd: " in said) == bool(line)
    assert "unexpected" in said
