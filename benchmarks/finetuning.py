"""A user's own 30 scans: the pretrained liver adapted to them, against learning from nothing on the same scans.

    python benchmarks/finetuning.py --data AMOS --work work/finetuning --seed 0 --seed 1 --seed 2

The scans of one source that the pretrained liver has never seen: some for training, some for early stopping, all others
to judge by, drawn anew for each seed. Three runs: `nothing` (`shapegen run`), `finetuned` (`shapegen finetune`), and
`as it is` (the same with next to no training, that is, the pretrained generator). What has been made is not made again.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from whole_run import make, results

from shapegen.data.split import position
from shapegen.store import write_json
from shapegen_organs.liver import LiverConfig, build

METRICS = ("volume-iou", "mmd", "coverage", "one-nna", "kpd", "nearest-training")
SHOWN = ("code, held out", "generated")
FROZEN = ("weight_space.steps=1", "diffusion.steps=1", "diffusion.learning_rate=1e-9")
WAYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "nothing": ("run", ()),
    "finetuned": ("finetune", ()),
    "as it is": ("finetune", FROZEN),
}


def split_of(groups: list[str], seed: int, *, train: int, validation: int) -> dict[str, str]:
    order = sorted(set(groups), key=lambda group: position(group, f"finetuning {seed}"))
    names = ["train"] * train + ["validation"] * validation
    return {group: names[k] if k < len(names) else "test" for k, group in enumerate(order)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--train", type=int, default=25)
    parser.add_argument("--validation", type=int, default=5)
    parser.add_argument("--seed", type=int, action="append", default=[])
    options = parser.parse_args()
    work: Path = options.work.resolve()
    groups = [item.group for item in build(LiverConfig()).scan([options.data])[0]]
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in options.seed or [0]:
        split = work / f"split-{seed}.json"
        write_json(split, split_of(groups, seed, train=options.train, validation=options.validation))
        for name, (command, settings) in WAYS.items():
            folder = work / f"{name.replace(' ', '-')}-{seed}"
            settings = (f"cache={work / 'cache'}", *settings)
            make(command, folder, data=options.data, split=split, metrics=METRICS, settings=settings, seed=seed)
            for row in results(folder):
                if row["row"] in SHOWN or (row["null"] == "yes" and row["row"] == "real against real"):
                    null = ", null" if row["null"] == "yes" else f", {name}"
                    values[f"{row['table']}, {row['measure']}", null].append(float(row["value"]))
            print(f"seed {seed}, {name}: done", flush=True)
    for (measure, row), numbers in sorted(values.items()):
        spread = f" (least {min(numbers):.4g}, greatest {max(numbers):.4g})" if len(numbers) > 1 else ""
        print(f"{measure}{row}: {np.mean(numbers):.4g}{spread}")


if __name__ == "__main__":
    main()
