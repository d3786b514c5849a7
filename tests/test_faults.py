"""What can go wrong around a run: nothing is lost, and the end is that of a run to which nothing happened."""

from __future__ import annotations

import shutil
from random import Random

import pytest

from faults import NAMES, begun, contents, differing, finish, kill_at_random

TRIALS = 204
"""Of the slow bench: 34 of each stage."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run to which nothing happened."""
    out = tmp_path_factory.mktemp("reference") / "run"
    finish(out)
    return out


def kill_and_finish(reference, out, trial):
    """One trial: kill -9 once or twice within a stage, then run to the end; return how many kills struck a live run."""
    random = Random(trial)
    stage = NAMES[trial % len(NAMES)]
    if trial % (4 * len(NAMES)):  # else from nothing
        begun(reference, out, stage)
    kills = sum(kill_at_random(reference, out, stage, random) for _ in range(random.choice((1, 1, 2))))
    finish(out)
    assert differing(contents(out), contents(reference)) == []
    return kills


@pytest.mark.parametrize("trial", [1, 8])
def test_killed_at_a_random_moment_it_ends_the_same(reference, tmp_path, trial):
    kill_and_finish(reference, tmp_path / "run", trial)


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(TRIALS))
def test_killed_at_random_moments_of_every_stage(reference, tmp_path, trial):
    kill_and_finish(reference, tmp_path / "run", trial)
    shutil.rmtree(tmp_path / "run")
