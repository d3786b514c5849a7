"""Measure whether sentences in wordings that the text head never saw are obeyed, by the head and by the shapes drawn.

    python benchmarks/text.py liver [--sentences 24] [--count 3] [--out benchmarks/results/text.json]

Head: of the attributes that a sentence names, the share found on the right side of the average; of those that it does
not name, the share left alone. Sentences: made of held-out words in held-out frames by
`shapegen_plugins.make_text_head`, and written by hand: `benchmarks/text_sentences.json`, of which `tuned-on` were
looked at while the head was made, and `never-tuned-on` were not.

Shapes: the pretrained generator draws for hand-written sentences that name something; of each attribute named, the
median of the draws lies on the asked side of the population's median, or not. Null rows: the unconditional draws of
the same seeds; the shape of the population's table that is nearest to the targets; the table's mean. `rest kept`:
spread of the attributes that were not named, over that of the unconditional draws. Intervals: bootstrap over sentences.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from shapegen.conditioning.ask import draws
from shapegen.conditioning.attributes import ATTRIBUTES
from shapegen.conditioning.draw import conditioned
from shapegen.conditioning.population import attribute_table, measured_rows
from shapegen.conditioning.target import standard_target
from shapegen.diffusion.latents import split
from shapegen.discovery import discover
from shapegen.metrics.statistics import bootstrap_interval
from shapegen.pretrained import pretrained_organ
from shapegen.store import write_json
from shapegen_plugins import text_descriptions
from shapegen_plugins.make_text_head import held_out, measure
from shapegen_plugins.text_head import shipped_head, understood

SENTENCES = Path(__file__).with_name("text_sentences.json")
MADE = 400


def interval(values: list[float]) -> dict[str, float]:
    return {**bootstrap_interval(np.array(values), draws=1000, seed=0).to_json(), "n": len(values)}


def by_hand(part: str) -> dict[str, dict[str, float]]:
    """Measure the head on sentences written by hand; one value for each sentence that names something, or nothing."""
    direction, alone, nothing = [], [], []
    for sentence, wanted in json.loads(SENTENCES.read_text())[part]:
        got = {each.attribute: each.z for each in understood(sentence)}
        if wanted:
            direction.append(float(np.mean([got.get(name, 0.0) * sign > 0 for name, sign in wanted.items()])))
            others = set(text_descriptions.ATTRIBUTES) - set(wanted)
            alone.append(1 - len(others & set(got)) / len(others))
        else:
            nothing.append(float(not got))
    return {"direction": interval(direction), "unasked": interval(alone), "nothing": interval(nothing)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("organ")
    parser.add_argument("--sentences", type=int, default=24, help="drawn for; 0: only the head is measured")
    parser.add_argument("--count", type=int, default=3, help="draws for each sentence")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/text.json"))
    options = parser.parse_args()
    head = shipped_head()
    result: dict = {
        "made, held-out frames": measure(head, held_out(MADE, seed=11, words="train")),
        "made, held-out words": measure(head, held_out(MADE, seed=12, frames="train")),
        "made, both held out": measure(head, held_out(MADE, seed=13)),
        "by hand, tuned on": by_hand("tuned-on"),
        "by hand, never tuned on": by_hand("never-tuned-on"),
    }
    if options.sentences:
        result["shapes"] = shapes(options.organ, options.sentences, options.count)
    write_json(options.out, result)
    print(json.dumps(result, indent=1))


def shapes(organ: str, sentences: int, count: int) -> dict[str, dict[str, float]]:
    catalog = discover()
    pretrained = pretrained_organ(catalog, organ)
    run = pretrained.run(catalog)
    generator = pretrained.generator(run)
    table = attribute_table(run, generator, pretrained)
    middle = np.median(table.values, axis=0)
    said = [row for row in json.loads(SENTENCES.read_text())["never-tuned-on"] if row[1]][:sentences]
    names = list(ATTRIBUTES)
    x = draws(generator, {}, max(count, 8), seed=0)
    codes, log_scale = split(generator.layout, generator.scaler.restore(x))
    free = measured_rows(each.surface for each in generator.mesh(codes, log_scale.exp(), resolution=128, seed=0))
    rows: dict[str, list[float]] = {}
    start = time.process_time()
    for sentence, wanted in said:
        targets = [standard_target(each.attribute, each.z, table) for each in understood(sentence)]
        found = conditioned(generator, table, targets, x[:count], seed=0, resolution=128)
        values = measured_rows(sample.surface for sample in found.samples)
        miss = np.zeros(len(table.values))
        for target in targets:
            miss += np.square((table.column(target.attribute) - target.value) / table.spread(target.attribute))
        for name, row in {
            "guided draws": np.median(values, axis=0),
            "unconditional draws": np.median(free[:count], axis=0),
            "nearest of the population": table.values[miss.argmin()],
            "mean of the population": table.values.mean(axis=0),
        }.items():
            right = [np.sign(row - middle)[names.index(each)] == sign for each, sign in wanted.items()]
            rows.setdefault(name, []).append(float(np.mean(right)))
        rest = [place for place, name in enumerate(names) if name not in wanted]
        spread = values[:, rest].std(axis=0, ddof=1) / free[:, rest].std(axis=0, ddof=1)
        rows.setdefault("rest kept", []).append(float(np.sqrt(np.mean(spread**2))))
        print(sentence, {name: round(each[-1], 2) for name, each in rows.items()}, flush=True)
    seconds = (time.process_time() - start) / len(said)
    return {**{name: interval(values) for name, values in rows.items()}, "cpu seconds": {"value": seconds}}


if __name__ == "__main__":
    main()
