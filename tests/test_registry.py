"""Plugin discovery: guarded, deterministic, and clear about what is wrong."""

# ruff: noqa: F811  (fixtures are imported by their names)

from __future__ import annotations

import importlib
import sys

import pytest

from distributions import install, plugin_module, site  # noqa: F401
from shapegen.discovery import discover
from shapegen.errors import PluginCollisionError, PluginNotFoundError

MIXER = plugin_module("shapegen_denoisers", "mixer")


@pytest.fixture(autouse=True)
def _everything_is_loaded(monkeypatch):
    monkeypatch.delenv("SHAPEGEN_PLUGINS", raising=False)


def only(monkeypatch, *names):
    monkeypatch.setenv("SHAPEGEN_PLUGINS", ",".join(names))


def test_plugin_is_found_with_its_provenance(site):
    install(site, "shapegen-mixer", points={"mixer": "fake_mixer"}, modules={"fake_mixer": MIXER}, version="2.3")
    entry = discover().find("denoiser", "mixer")
    assert entry.source.to_json() == {
        "distribution": "shapegen-mixer",
        "version": "2.3",
        "entry_point": "mixer",
        "module": "fake_mixer",
    }
    assert entry.plugin.build(entry.plugin.config(depth=7), tokens=3)["depth"] == 7


BROKEN = {
    "import": ("import nope_not_there", "ModuleNotFoundError: No module named 'nope_not_there'"),
    "syntax": ("def f(:\n", "SyntaxError"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "unknown hook": (plugin_module("shapegen_denoiserz", "x"), "shapegen_denoiserz"),
    "unknown argument": (
        "from shapegen import hookimpl\n@hookimpl\ndef shapegen_step(run, stepp):\n    pass\n",
        "stepp",
    ),
    "raises in the hook": (
        "from shapegen import hookimpl\n@hookimpl\ndef shapegen_inrs():\n    yield 1 / 0\n",
        "ZeroDivisionError: division by zero",
    ),
    "not a plugin": (
        "from shapegen import hookimpl\n@hookimpl\ndef shapegen_inrs():\n    yield 'siren'\n",
        "yielded 'siren'; expected a shapegen.Plugin",
    ),
    "plugin itself": (
        "from shapegen import Plugin, hookimpl\n@hookimpl\ndef shapegen_inrs():\n"
        "    return Plugin(name='a', summary='', build=print)\n",
        "must yield plugins",
    ),
    "bad name": (
        "from shapegen import Plugin, hookimpl\n@hookimpl\ndef shapegen_inrs():\n"
        "    yield Plugin(name='My INR', summary='', build=print)\n",
        "'My INR'",
    ),
    "config is no Config": (
        "from shapegen import Plugin, hookimpl\n@hookimpl\ndef shapegen_inrs():\n"
        "    yield Plugin(name='a', summary='', build=print, config=dict)\n",
        "expected a subclass of shapegen.Config",
    ),
    "twice": (plugin_module("shapegen_inrs", "a", "a"), "yields 'a' twice"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_plugin_is_listed_and_stops_nobody(site, monkeypatch, case):
    source, expected = BROKEN[case]
    module = f"fake_broken_{list(BROKEN).index(case)}"
    install(site, "shapegen-broken", points={"bad": module}, modules={module: source}, version="0.9")
    install(site, "shapegen-mixer", points={"mixer": "fake_mixer"}, modules={"fake_mixer": MIXER})
    only(monkeypatch, "shapegen-broken", "shapegen-mixer")
    catalog = discover()
    assert [entry.name for entry in catalog.entries()] == ["mixer"]
    (failure,) = catalog.failures
    assert str(failure.source) == f"shapegen-broken 0.9 (bad = {module})"
    assert expected in failure.error
    assert "\n" not in failure.error


def test_one_broken_entry_point_leaves_the_distributions_others(site, monkeypatch):
    modules = {"fake_good": MIXER, "fake_bad": "raise RuntimeError('no luck')"}
    install(site, "shapegen-half", points={"bad": "fake_bad", "good": "fake_good"}, modules=modules)
    only(monkeypatch, "shapegen-half")
    catalog = discover()
    assert [entry.name for entry in catalog.entries("denoiser")] == ["mixer"]
    assert [failure.error for failure in catalog.failures] == ["RuntimeError: no luck"]


def test_collision_names_both_and_qualified_names_work(site, monkeypatch):
    for each in ("one", "two"):
        install(site, f"shapegen-{each}", points={"m": f"fake_{each}"}, modules={f"fake_{each}": MIXER})
    only(monkeypatch, "shapegen-one", "shapegen-two")
    catalog = discover()
    assert len(catalog.entries("denoiser")) == 2
    with pytest.raises(PluginCollisionError, match=r"shapegen-one 1\.0 .* and shapegen-two 1\.0") as caught:
        catalog.find("denoiser", "mixer")
    assert "'shapegen-one:mixer' or 'shapegen-two:mixer'" in str(caught.value)
    assert catalog.find("denoiser", "shapegen-two:mixer").source.module == "fake_two"
    assert catalog.find("denoiser", "Shapegen_One:mixer").source.module == "fake_one"


def test_third_party_cannot_shadow_a_default(site):
    install(
        site,
        "shapegen-shadow",
        points={"s": "fake_shadow"},
        modules={"fake_shadow": plugin_module("shapegen_inrs", "siren")},
    )
    catalog = discover()
    with pytest.raises(PluginCollisionError, match="shapegen-shadow"):
        catalog.find("inr", "siren")
    assert catalog.find("inr", "shapegen:siren").source.distribution == "shapegen"


def test_collision_inside_one_distribution_asks_its_author(site, monkeypatch):
    install(site, "shapegen-twice", points={"a": "fake_a", "b": "fake_b"}, modules={"fake_a": MIXER, "fake_b": MIXER})
    only(monkeypatch, "shapegen-twice")
    with pytest.raises(PluginCollisionError, match="must rename one"):
        discover().find("denoiser", "shapegen-twice:mixer")


def test_not_found_suggests_and_counts_failures(site, monkeypatch):
    install(site, "shapegen-mixer", points={"mixer": "fake_mixer"}, modules={"fake_mixer": MIXER})
    install(site, "shapegen-broken", points={"bad": "fake_bad"}, modules={"fake_bad": "import nope_not_there"})
    only(monkeypatch, "shapegen-mixer", "shapegen-broken")
    with pytest.raises(PluginNotFoundError) as caught:
        discover().find("denoiser", "mixr")
    text = str(caught.value)
    assert text.startswith(
        "no denoiser named 'mixr'. Perhaps it is of a module that does not load. Did you mean 'mixer'?"
    )
    assert "1 plugin module(s) failed to load, from shapegen-broken" in text
    with pytest.raises(PluginNotFoundError, match="Did you mean 'shapegen-mixer:mixer'"):
        discover().find("denoiser", "shapegen-other:mixer")
    with pytest.raises(PluginNotFoundError, match="no kind of plugin named 'denoisers'; the kinds are organ, inr"):
        discover().find("denoisers", "mixer")


@pytest.mark.parametrize(
    ("requirement", "loads"),
    [
        ("shapegen<0.1", False),
        ("Shapegen>=99", False),
        ("shapegen[test]>=0.0.1", True),
        ("shapegen>=99; python_version < '3'", True),
        ("shapegen>=99; extra == 'dev'", True),
        ("numpy>=99", True),
        ("no requirement at all !!", True),
    ],
)
def test_version_mismatch_is_said_before_anything_is_imported(site, monkeypatch, requirement, loads):
    install(
        site, "shapegen-old", points={"m": "fake_old"}, modules={"fake_old": MIXER}, requires=["pluggy", requirement]
    )
    only(monkeypatch, "shapegen-old")
    sys.modules.pop("fake_old", None)
    catalog = discover()
    assert bool(catalog.entries()) is loads
    assert ("fake_old" in sys.modules) is loads
    if not loads:
        assert catalog.failures[0].error.startswith("needs shapegen")
        assert "have 0.1" in catalog.failures[0].error


def test_restriction_loads_only_what_is_named(site, monkeypatch):
    for each in ("one", "two"):
        source = plugin_module("shapegen_denoisers", each)
        install(site, f"shapegen-{each}", points={"m": f"fake_{each}"}, modules={f"fake_{each}": source})
    only(monkeypatch, " Shapegen_Two ", "shapegen-absent")
    catalog = discover()
    assert [entry.name for entry in catalog.entries()] == ["two"]
    assert [failure.source.distribution for failure in catalog.failures] == ["shapegen-absent"]
    assert "fake_one" not in sys.modules
    monkeypatch.setenv("SHAPEGEN_PLUGINS", "")
    assert {"one", "two"} <= {entry.name for entry in discover().entries("denoiser")}


def test_heavy_import_is_detected_and_attributed(site, monkeypatch):
    # a stand-in for torch, so that the test does not depend on what other tests imported
    (site / "pyvista.py").write_text("")
    source = "import pyvista\n" + MIXER
    install(site, "shapegen-heavy", points={"m": "fake_heavy"}, modules={"fake_heavy": source})
    install(
        site, "shapegen-light", points={"m": "fake_light"}, modules={"fake_light": plugin_module("shapegen_inrs", "a")}
    )
    only(monkeypatch, "shapegen-heavy", "shapegen-light")
    monkeypatch.delitem(sys.modules, "pyvista", raising=False)
    heavy = {loaded.source.distribution: loaded.heavy for loaded in discover().loaded}
    assert heavy == {"shapegen-heavy": ("pyvista",), "shapegen-light": ()}


def test_distribution_that_is_on_the_path_twice_counts_once(site, monkeypatch, tmp_path):
    install(site, "shapegen-mixer", points={"m": "fake_mixer"}, modules={"fake_mixer": MIXER}, version="2.0")
    older = tmp_path / "older"
    install(older, "Shapegen.Mixer", points={"m": "fake_mixer"}, modules={"fake_mixer": MIXER}, version="1.0")
    monkeypatch.setattr(sys, "path", [str(site), str(site), *sys.path, str(older)])
    importlib.invalidate_caches()
    only(monkeypatch, "shapegen-mixer")
    assert [entry.source.version for entry in discover().entries()] == ["2.0"]


def test_unreadable_metadata_stops_nobody(site, monkeypatch):
    install(site, "shapegen-mixer", points={"m": "fake_mixer"}, modules={"fake_mixer": MIXER})
    install(site, "shapegen-torn", points={"m": "fake_torn"})
    (site / "shapegen_torn-1.0.dist-info" / "entry_points.txt").write_bytes(b"[shapegen]\n\xff\xfe broken")
    catalog = discover()
    assert catalog.find("denoiser", "mixer")
    assert any("unreadable" in failure.error for failure in catalog.failures)


def test_order_does_not_depend_on_the_path(site, monkeypatch, tmp_path):
    other = tmp_path / "other"
    for folder, each in ((site, "b"), (other, "a")):
        source = plugin_module("shapegen_denoisers", f"z-{each}", f"a-{each}")
        install(folder, f"shapegen-{each}", points={"m": f"fake_{each}"}, modules={f"fake_{each}": source})
    only(monkeypatch, "shapegen-a", "shapegen-b")
    seen = []
    for path in ([str(site), str(other), *sys.path], [str(other), str(site), *sys.path]):
        monkeypatch.setattr(sys, "path", path)
        importlib.invalidate_caches()
        catalog = discover()
        seen.append([entry.qualified for entry in catalog.entries()])
        assert [loaded.source.distribution for loaded in catalog.loaded] == ["shapegen-a", "shapegen-b"]
    assert seen[0] == seen[1] == ["shapegen-a:a-a", "shapegen-b:a-b", "shapegen-a:z-a", "shapegen-b:z-b"]


LISTENER = """
from shapegen import hookimpl
heard = []
@hookimpl
def shapegen_step(step, logs):
    heard.append((step, dict(logs)))
    if step == {fails}:
        raise OSError("server is gone")
"""


def test_events_reach_everyone_and_a_raising_listener_is_named_once(site, monkeypatch):
    install(site, "shapegen-bad", points={"t": "fake_bad"}, modules={"fake_bad": LISTENER.format(fails=1)})
    install(site, "shapegen-good", points={"t": "fake_good"}, modules={"fake_good": LISTENER.format(fails=-1)})
    only(monkeypatch, "shapegen-bad", "shapegen-good")
    catalog = discover()
    events = catalog.events()
    problems = [
        problem
        for step in range(4)
        for problem in events.broadcast("shapegen_step", run=None, stage="train", step=step, logs={"loss": 1.0})
    ]
    assert len(problems) == 1
    assert "shapegen-bad 1.0" in problems[0]
    assert "OSError: server is gone" in problems[0]
    assert [step for step, _ in sys.modules["fake_good"].heard] == [0, 1, 2, 3]
    assert [step for step, _ in sys.modules["fake_bad"].heard] == [0, 1]
    # another run starts afresh
    assert catalog.events().broadcast("shapegen_step", run=None, stage="train", step=9, logs={}) == []
    assert sys.modules["fake_bad"].heard[-1][0] == 9
