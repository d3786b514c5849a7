"""Damaged files into every reader: it must answer with one of shapegen's errors, in time and within its memory.

    python benchmarks/fuzz.py [--inputs 100000] [--only nifti,zip] [--first 0] [--keep FOLDER]

Input i of a reader is made by a generator seeded with (reader, i): `--only nifti --first 812 --inputs 1` makes a
finding again, `--keep` writes the files of all findings. Each reader runs in a process of its own with a limit on its
memory; an alarm ends an input that computes for more than 10 s, and an input that ends the process is a finding too.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from fuzz_readers import READERS
from machine import keep, machine

RESULTS = Path(__file__).parent / "results" / "fuzz.json"
SECONDS = 10
"""Of computing, after which an input counts as a hang; so do six times as many of waiting, on a busy machine."""
MEMORY = 2 << 30
"""Bytes of address space beyond what the libraries take."""
GROWTH = 1 << 30
"""Bytes of resident memory that all inputs of a reader together may add: the largest valid one has some kilobytes."""


def made(name: str, seeds: list[bytes], number: int) -> bytes:
    """Return input `number` of a reader; every hundredth is a valid file."""
    random = Random(f"{name} {number}")
    seed = random.choice(seeds)
    return seed if number % 100 == 0 else READERS[name].mutate(seed, random)


def fuzz(name: str, first: int, count: int) -> dict[str, Any]:
    """Read inputs first .. first + count - 1 in a process that is started again whenever one of them ends it.

    Returns:
        "inputs", "refused" (by a ShapegenError), "read", "slowest_s", "growth_mb" and "findings", a list of
        `{"number", "what"}`.
    """
    total: dict[str, Any] = {"inputs": 0, "refused": 0, "read": 0, "slowest_s": 0.0, "growth_mb": 0.0, "findings": []}
    number, last = first, first + count
    while number < last:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        worker = multiprocessing.get_context("spawn").Process(target=_work, args=(name, number, last, theirs))
        worker.start()
        theirs.close()
        number = _listen(ours, number, total)
        worker.join()
        if number < last:
            what = signal.Signals(-worker.exitcode).name if (worker.exitcode or 0) < 0 else f"exit {worker.exitcode}"
            what = f"no answer in {SECONDS} s" if what in ("SIGALRM", "SIGPROF") else f"the process ended: {what}"
            total["findings"].append({"number": number, "what": what})
            total["inputs"] += 1
            number += 1
    return total


def _listen(answers: Connection, number: int, total: dict[str, Any]) -> int:
    """Add up the worker's answers until it ends; return the number of the first input without one."""
    while True:
        try:
            outcome, seconds, growth = answers.recv()
        except EOFError:
            return number
        total["inputs"] += 1
        total["slowest_s"] = max(total["slowest_s"], round(seconds, 3))
        total["growth_mb"] = max(total["growth_mb"], round(growth / 1e6, 1))
        if outcome in ("read", "refused"):
            total[outcome] += 1
        else:
            total["findings"].append({"number": number, "what": outcome})
        number += 1


def _work(name: str, first: int, last: int, answers: Connection) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # VTK's C++ writes pages of its own
    os.dup2(nothing, 2)
    seeds = list(READERS[name].seeds())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _outcome(name, seeds[0], folder)  # loads the libraries
        before = _resident()
        limit = _address_space() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in range(first, last):
            data = made(name, seeds, number)
            start = time.perf_counter()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.alarm(6 * SECONDS)
            outcome = _outcome(name, data, folder)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
            if outcome == "read" and _resident() - before > GROWTH:
                outcome = f"resident memory grew by {(_resident() - before) / 1e6:.0f} MB"
            answers.send((outcome, time.perf_counter() - start, max(0, _resident() - before)))


def _outcome(name: str, data: bytes, folder: Path) -> str:
    """Return "read", "refused", or what came out instead."""
    from shapegen.errors import ShapegenError

    reader = READERS[name]
    shutil.rmtree(folder, ignore_errors=True)
    path = folder / "input" / reader.file
    path.parent.mkdir(parents=True)
    reader.prepare(path.parent)
    path.write_bytes(data)
    try:
        reader.read(path)
    except ShapegenError:
        return "refused"
    except BaseException as error:
        frames = [f"{Path(each.filename).name}:{each.lineno}" for each in traceback.extract_tb(error.__traceback__)]
        return f"{type(error).__name__}: {str(error)[:200]} ({' < '.join(reversed(frames[-4:]))})"
    return "read"


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all readers together")
    parser.add_argument("--only", default="", help="readers, with commas")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(READERS)
    shares = sum(READERS[name].share for name in names)
    readers = {}
    for name in names:
        readers[name] = fuzz(name, options.first, math.ceil(options.inputs * READERS[name].share / shares))
        row = readers[name]
        print(f"{name}: {row['inputs']} inputs, {row['read']} read, slowest {row['slowest_s']} s, "
              f"+{row['growth_mb']:.0f} MB, {len(row['findings'])} findings", flush=True)  # fmt: skip
        for what, times in Counter(finding["what"] for finding in row["findings"]).most_common(12):
            number = next(finding["number"] for finding in row["findings"] if finding["what"] == what)
            print(f"    {times} x {what} (first: {number})", flush=True)
        if options.keep:
            seeds = list(READERS[name].seeds())
            for finding in row["findings"]:
                place = options.keep / name / f"{finding['number']}-{Path(READERS[name].file).name}"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(made(name, seeds, finding["number"]))
    inputs, findings = (
        sum(n) for n in zip(*((r["inputs"], len(r["findings"])) for r in readers.values()), strict=True)
    )
    result = {"what": "damaged files into every reader", "inputs": inputs, "findings": findings, "readers": readers}
    keep(options.out, json.loads(json.dumps({**result, "machine": machine()})))
    sys.exit(findings > 0)


if __name__ == "__main__":
    main()
