"""Work in processes: order, failures, killed workers and threads."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from shapegen.errors import UnusableItemError
from shapegen.parallel import KEPT, THREADS, each, worker_count


def work(item):
    if item == "unusable":
        raise UnusableItemError("no good", advice="take another")
    if item == "bug":
        raise ZeroDivisionError("oh")
    if item == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "file")
    if item == "slow":
        time.sleep(0.3)
    if item == "threads":
        return [os.environ.get(name) for name in THREADS]
    if item == "memory":
        return [os.environ.get(name) for name in KEPT]
    return item * 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_costs_only_its_item(workers):
    items = ["a", "unusable", "b", "bug", "c"]
    outcomes = {outcome.index: outcome for outcome in each(work, items, workers=workers)}
    assert {k: outcome.result for k, outcome in outcomes.items()} == {0: "aa", 1: None, 2: "bb", 3: None, 4: "cc"}
    assert outcomes[1].reason == "no good; take another"
    assert outcomes[3].reason == "ZeroDivisionError: oh"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill on this system")
def test_an_item_that_kills_its_process_is_found_and_the_others_go_on():
    items = ["slow", "kill", *"abcd", "kill", "e"]
    outcomes = sorted(each(work, items, workers=2), key=lambda outcome: outcome.index)
    assert [outcome.index for outcome in outcomes] == list(range(8))
    assert [outcome.index for outcome in outcomes if "killed the process" in outcome.reason] == [1, 6]
    assert [outcome.result for outcome in outcomes if not outcome.reason] == [
        "slowslow",
        *("aa", "bb", "cc", "dd", "ee"),
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_nobodys_fault(workers):
    with pytest.raises(OSError, match="No space left"):
        list(each(work, ["a", "full", "b"], workers=workers))


def test_workers_have_one_thread_and_the_parents_environment_is_restored(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    outcomes = list(each(work, ["threads", "threads"], workers=2))
    assert [outcome.result for outcome in outcomes] == [["1"] * len(THREADS)] * 2
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_workers_keep_their_memory_but_as_the_user_says(monkeypatch):
    first, second = KEPT
    monkeypatch.setenv(first, "123")
    monkeypatch.delenv(second, raising=False)
    outcomes = list(each(work, ["memory", "memory"], workers=2))
    assert [outcome.result for outcome in outcomes] == [["123", KEPT[second]]] * 2
    assert second not in os.environ


def test_no_more_workers_than_items():
    assert worker_count(8, 3) == 3
    assert worker_count(2, 100) == 2
    assert 1 <= worker_count(0, 100) <= (os.cpu_count() or 1)
    assert worker_count(0, 0) == 1


def said(tmp_path, script):
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    return subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout.split()


def test_a_script_needs_no_guard(tmp_path):
    script = """
        import os, sys
        from shapegen.parallel import each
        print("began")
        print(*sorted(each(os.path.basename, ["a/b", "c/d"], workers=2), key=lambda found: found.index))
        print(__file__, __spec__)
    """
    found = " ".join(said(tmp_path, script))
    assert found.count("began") == 1
    assert "result='b', reason=''" in found
    assert "result='d', reason=''" in found
    assert found.endswith("script.py None")


def test_what_a_guarded_script_defines_goes_to_the_processes(tmp_path):
    script = """
        from shapegen.parallel import each
        def double(item):
            return 2 * item
        if __name__ == "__main__":
            print(*sorted(found.result for found in each(double, [1, 2, 3], workers=2)))
    """
    assert said(tmp_path, script) == ["2", "4", "6"]
