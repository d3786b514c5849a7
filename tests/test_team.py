"""Several processes share a run's work: the same result as one, and none of them is lost without notice."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import team_work
from shapegen.errors import ConfigError, LaunchError, TeamBrokenError
from shapegen.launch import Launch, read_launch, start
from shapegen.store import read_tensors
from shapegen.team import Team, _noticing, _of_collective, is_launched, leads, team, together

TOLERANCE = 1e-5
"""Of gradients, relative to the largest of a tensor: what the order of a sum in float32 can change."""
PROCESSES = 3


def launched(work, *arguments, folder, processes=2, restarts=1):
    return start(Launch(engine="torchrun", processes=processes, restarts=restarts), work, *arguments, folder=folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What three processes saw."""
    folder = tmp_path_factory.mktemp("team")
    assert launched(team_work.everything, folder, folder=folder, processes=PROCESSES) == 0
    return [
        (read_tensors(folder / f"{rank}.safetensors"), json.loads((folder / f"{rank}.json").read_text()))
        for rank in range(PROCESSES)
    ]


@given(st.integers(1, 12), st.integers(0, 200))
def test_every_item_and_row_is_exactly_one_processs(size, count):
    members = [Team(rank, size) for rank in range(size)]
    shares = [member.share(range(count)) for member in members]
    assert sorted(item for share in shares for item in share) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    rows = [list(range(count))[member.rows(count)] for member in members]
    assert [row for part in rows for row in part] == list(range(count))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_a_process_alone_is_a_team_of_its_own():
    with together() as us:
        us.wait()
        assert (us.size, us.of_leader(3.5), team(), leads()) == (1, 3.5, Team(), True)
    assert not is_launched({})
    assert not is_launched({"WORLD_SIZE": "1", "RANK": "0"})
    assert is_launched({"WORLD_SIZE": "2", "RANK": "0"})


@pytest.mark.parametrize("batch", [8, 2])
def test_gradients_of_the_team_are_those_of_one_process(shared, batch):
    """With a batch of 2 one of the three processes has no row."""
    alone = team_work.gradient(batch)
    for tensors, _ in shared:
        assert {n for n in tensors if n.startswith(f"gradient{batch}.")} == {f"gradient{batch}.{n}" for n in alone}
        for name, expected in alone.items():
            difference = (tensors[f"gradient{batch}.{name}"] - expected).abs().max()
            assert difference <= TOLERANCE * expected.abs().max(), name


def test_a_training_of_the_team_ends_as_one_of_one_process(shared, tmp_path):
    weights, curve = team_work.training(tmp_path)
    for tensors, said in shared:
        for name, expected in weights.items():
            assert (tensors[f"trained.{name}"] - expected).abs().max() <= 1e-4, name
        for ours, theirs in zip(said["curve"], curve, strict=True):
            assert ours == pytest.approx(dict(theirs), rel=1e-4)


def test_all_processes_hold_the_same_bits(shared):
    first, said = shared[0]
    for tensors, other in shared[1:]:
        assert all((first[name] == tensors[name]).all() for name in first)
        assert other["curve"] == said["curve"]


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """What two processes saw that had a part of each network."""
    folder = tmp_path_factory.mktemp("sharded")
    assert launched(team_work.sharded, folder, folder=folder) == 0
    return [read_tensors(folder / f"{rank}.safetensors") for rank in range(2)]


@pytest.mark.parametrize("name", ["transformer", "unet1d", "mlp"])
def test_a_divided_network_learns_what_a_whole_one_does(divided, name, tmp_path):
    weights, curve = team_work.training(tmp_path, team_work.denoiser(name))
    for tensors in divided:
        assert {key.removeprefix(f"{name}.") for key in tensors if key.startswith(f"{name}.")} == {*weights, "curve"}
        for key, expected in weights.items():
            assert (tensors[f"{name}.{key}"] - expected).abs().max() <= 1e-3 * max(1, expected.abs().max()), key
        assert tensors[f"{name}.curve"].tolist() == pytest.approx([row["validation_loss"] for row in curve], rel=1e-4)


def test_each_process_holds_its_part_of_a_divided_network(divided):
    whole = [each.numel() for each in team_work.denoiser("transformer").parameters()]
    parts = [tensors["parts"].tolist() for tensors in divided]
    assert [sum(both) for both in zip(*parts, strict=True)] == whole
    assert max(sum(part) for part in parts) < 0.55 * sum(whole)


def test_a_training_of_a_divided_network_goes_on_where_it_was_interrupted(divided):
    for tensors in divided:
        for name in [key for key in tensors if key.startswith("interrupted.")]:
            assert (tensors[name] == tensors[f"un{name}"]).all(), name


def test_what_is_not_shared_is_the_leaders(shared):
    assert [said["alone"] for _, said in shared] == [[True, 1], [False, 1], [False, 1]]
    assert {said["of_leader"] for _, said in shared} == {10.0}
    assert shared[0][0]["total"].tolist() == [0.0, 6.0, 12.0, 18.0]


def test_a_process_that_is_killed_is_started_again_with_the_others(tmp_path):
    assert launched(team_work.end_early, tmp_path, "killed once", folder=tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "ended-0", "ended-1"]


def test_a_process_that_is_killed_again_and_again_is_one_line(tmp_path):
    with pytest.raises(LaunchError, match="after 1 restarts of all 2; run the same command again to go on"):
        launched(team_work.end_early, tmp_path, "always killed", folder=tmp_path)


def test_a_process_that_is_missed_by_torch_itself_breaks_the_team(tmp_path):
    assert launched(team_work.hang_up, tmp_path, folder=tmp_path) == 0
    assert (tmp_path / "noticed").read_text().startswith("another process of this run has ended or is out of reach (")


def test_other_errors_of_torch_are_none_of_the_team():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), _noticing(_of_collective):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_what_gloo_says_of_a_lost_process_is_told_without_its_sources():
    said = "[/build/gloo/transport/tcp/pair.cc:537] Read error [10.0.0.1]:58752: No route to host. This is typically a"
    expected = r"out of reach \(Read error \[10.0.0.1\]:58752: No route to host\); run the same command again to go on"
    with pytest.raises(TeamBrokenError, match=expected), _noticing():
        raise RuntimeError(f"{said} wish\nand more")


def test_an_error_of_one_ends_all_and_starts_none_again(tmp_path):
    assert launched(team_work.end_early, tmp_path, "error", folder=tmp_path) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["ended-0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torchrun:4", Launch(engine="torchrun", processes=4)),
        ("torchrun:2,restarts=10", Launch(engine="torchrun", processes=2, restarts=10)),
        (
            "slurm:8x4,partition=gpu,timeout_min=600",
            Launch(engine="slurm", nodes=8, processes=4, options={"partition": "gpu", "timeout_min": "600"}),
        ),
        ("local:2", Launch(engine="local", processes=2)),
    ],
)
def test_a_launch_is_read(text, expected):
    assert read_launch(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "torchrun",
        "torchrun:0",
        "mpi:4",
        "slurm:4,partition",
        "torchrun:2,restarts=x",
        "torchrun:2x2",
        "torchrun:2,a=b",
    ],
)
def test_what_is_no_launch_is_refused_with_what_is(text):
    with pytest.raises(ConfigError, match=f"--launch {text}: .*torchrun"):
        read_launch(text)
