"""The conformance kit: every default plugin passes, and every check finds the fault that it is there for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from broken_plugins import BUILDS, VolumeError, example
from distributions import defaults, install, plugin_module, site  # noqa: F401
from shapegen import Config, Plugin
from shapegen.discovery import HEAVY, discover
from shapegen.errors import ConfigError, MissingLibraryError, PluginNotFoundError
from shapegen.hookspecs import KINDS
from shapegen.testing import Case, NonconformingError, NotCheckedError, Subject, cases, checks_of, parametrize, subject

OURS = [
    f"{entry.kind}/{entry.qualified}"
    for entry in discover().entries()
    if entry.source.distribution == "shapegen" and (entry.kind != "organ" or entry.name == "liver")
]
CHECKS = [(kind, check) for kind in KINDS for check in checks_of(kind)]
EVERYTHING = {"light-import", "builds-by-default", "defaults-are-valid", "says-what-it-applies-to", "brings-examples"}
"""Faults that leave nothing for the other checks to see."""
NAMES = [f"{kind}-{check.name}" for kind, check in CHECKS]


@parametrize(OURS)
def test_default_plugin(check):
    check()


@parametrize("denoiser/transformer", width=32, depth=2, cross_attention=True)
def test_denoiser_that_takes_a_condition(check):
    check()


@parametrize("denoiser/unet1d", channels=16, mults=[1, 2], blocks=2, length=32)
def test_denoiser_with_lifted_tokens(check):
    check()


@parametrize("weight-space/full", tokens="layer", steps=5)
def test_weight_space_of_layers(check):
    check()


@pytest.mark.parametrize(("kind", "check"), CHECKS, ids=NAMES)
def test_check_finds_its_fault_and_nothing_where_there_is_none(kind, check):
    Case(example(kind), check)()
    with pytest.raises(NonconformingError) as found:
        Case(example(kind, check.name), check)()
    assert len(str(found.value)) > 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_the_only_one_of_its_plugin(kind):
    """Or most checks could be one: beside its own, few others fail."""
    for each in checks_of(kind):
        if each.name in EVERYTHING:
            continue
        failed = []
        for other in cases(example(kind, each.name)):
            try:
                other()
            except NonconformingError:
                failed.append(other.check.name)
        assert each.name in failed
        assert len(failed) <= 5, (each.name, failed)


def test_every_kind_has_examples_and_every_check_says_what_it_protects():
    assert set(BUILDS) == set(KINDS)
    for kind in KINDS:
        names = [check.name for check in checks_of(kind)]
        assert len(set(names)) == len(names)
        for check in checks_of(kind):
            assert check.protects.endswith("."), check.name
            assert "\n" not in check.protects


def test_a_reconstruction_metric_without_fault_passes():
    plugin = Plugin(name="volume", summary="for tests", build=lambda config: VolumeError(""), config=Config)
    for case in cases(Subject(kind="metric", plugin=plugin, module="shapegen_plugins.inrs")):
        case()


def test_what_a_plugin_raises_is_a_failure_and_a_missing_library_is_none():
    def missing(config):
        raise MissingLibraryError("tensorboard", "pip install it")

    (_, _, build, *_) = cases(example("inr", "builds-by-default"))
    with pytest.raises(NonconformingError, match="raised ConfigError: size: expected a size"):
        build()
    plugin = Plugin(name="t", summary="for tests", build=missing)
    (_, _, build, *_) = cases(Subject(kind="tracker", plugin=plugin, module="shapegen_plugins.inrs"))
    with pytest.raises(NotCheckedError, match="pip install it"):
        build()


def test_names_and_options_that_are_wrong_are_said():
    with pytest.raises(ConfigError, match="expected KIND/NAME"):
        subject("mlp")
    with pytest.raises(PluginNotFoundError, match="Did you mean 'transformer'"):
        parametrize("denoiser/transfomer")
    with pytest.raises(ConfigError, match="dpeth"):
        parametrize("denoiser/transformer", dpeth=3)


def test_importing_the_kit_is_light():
    script = f"import sys, shapegen.testing; print([m for m in {(*HEAVY, 'pytest')!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_module_that_cannot_be_registered_is_no_light_one():
    plugin = Plugin(name="lost", summary="for tests", build=lambda config: None)
    first, *_ = cases(Subject(kind="inr", plugin=plugin, module="no_such_module"))
    with pytest.raises(NonconformingError, match="no_such_module cannot be registered: ModuleNotFoundError"):
        first()
