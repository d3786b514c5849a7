"""The benchmarks of speed and safety that need no data of yours, one after the other, with one table at the end.

    python benchmarks/run_all.py [--quick] [--run RUN] [--only meshing,fuzz] [--compare EARLIER.json] [--out FILE]

Each times shapegen beside something else on the same machine in the same minutes, so that ratios can be compared
between machines; seconds cannot. `--run` adds those that want a finished run's real shapes. `--compare` puts the
numbers of an earlier result beside these, and how many times as large they are now.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "all.json"


@dataclass(frozen=True, slots=True)
class Bench:
    """A benchmark.

    Args:
        script: beside this file.
        numbers: what of its result is shown.
        quick: arguments that make it short.
        wants_run: its first argument is a run folder.
    """

    script: str
    numbers: Sequence[str]
    quick: Sequence[str] = ()
    wants_run: bool = False


BENCHES: Mapping[str, Bench] = {
    "meshing": Bench(
        "meshing.py", ("ratio_wall", "ratio_cpu"), ("--resolution", "96", "--rounds", "1", "--steps", "100")
    ),
    "generation-metrics": Bench(
        "generation_metrics.py",
        ("ratio_wall", "ratio_cpu", "ratio_wall_old_form"),
        ("--shapes", "16", "--points", "512", "--rounds", "2", "--pairs", "8", "--memory-shapes", "32"),
    ),
    "framework-tax": Bench(
        "framework_tax.py",
        ("ratio_training", "ratio_training_with_held_out_losses", "ratio_sampling"),
        ("--steps", "10", "--count", "4", "--rounds", "1"),
    ),
    "inr-fitting": Bench("inr_fitting.py", ("ratio",), ("--livers", "2", "--rounds", "1"), wants_run=True),
    "fuzz": Bench("fuzz.py", ("inputs", "findings"), ("--inputs", "600")),
}


def run(name: str, *, quick: bool, folder: Path | None) -> dict[str, Any]:
    """Run a benchmark and return its numbers and the seconds it took; a benchmark that fails is said to."""
    bench = BENCHES[name]
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "result.json"
        run_folder = [str(folder)] if bench.wants_run else []
        command = [
            sys.executable,
            str(HERE / bench.script),
            *run_folder,
            *(bench.quick if quick else ()),
            "--out",
            str(out),
        ]
        start = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        seconds = time.perf_counter() - start
        result = json.loads(out.read_text()) if out.exists() else {}
    numbers = {number: result[number] for number in bench.numbers if number in result}
    return {"numbers": numbers, "seconds": round(seconds, 1), "exit": done.returncode}


def table(result: Mapping[str, Any], earlier: Mapping[str, Any]) -> Table:
    """Return all numbers, beside those of an earlier result if there is one."""
    made = Table(title=", ".join(f"{key} {value}" for key, value in result["machine"].items()), title_justify="left")
    for title in ("benchmark", "number", "now", *(("earlier", "times") if earlier else ()), "seconds"):
        made.add_column(title, justify="left" if title in ("benchmark", "number") else "right")
    for name, row in result["benches"].items():
        before = earlier.get("benches", {}).get(name, {}).get("numbers", {})
        for number, value in row["numbers"].items() or {"failed": row["exit"]}.items():
            old = before.get(number)
            change = f"{value / old:.2f}" if old else "-"
            compared = ("-" if old is None else f"{old:.4g}", change) if earlier else ()
            made.add_row(name, number, f"{value:.4g}", *compared, f"{row['seconds']:.0f}")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="minutes: that they work, not numbers to quote")
    parser.add_argument("--run", type=Path, help="a run folder with a finished prepare stage")
    parser.add_argument("--only", default="", help=f"with commas, of {', '.join(BENCHES)}")
    parser.add_argument("--compare", type=Path, help="an earlier result")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    earlier = json.loads(options.compare.read_text()) if options.compare else {}
    names = (
        options.only.split(",") if options.only else [n for n, b in BENCHES.items() if options.run or not b.wants_run]
    )
    benches = {}
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        benches[name] = run(name, quick=options.quick, folder=options.run)
    result = {"machine": machine(), "quick": options.quick, "benches": benches}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    Console(width=120).print(table(result, earlier))
    sys.exit(any(row["exit"] for row in benches.values()))


if __name__ == "__main__":
    main()
