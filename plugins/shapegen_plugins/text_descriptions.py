"""Sentences that describe shapes, made of word lists; the training's and the held-out wordings have none in common."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

Wording = Literal["train", "held-out"]

WORDS = Path(__file__).with_name("text_words.json")
WHOLE = ("volume", "extent-left-right", "extent-head-foot", "extent-front-back", "sphericity", "thickness-50")
LOBE = ("left-share", "left-length", "left-thickness")
ATTRIBUTES = (*WHOLE, *LOBE)
"""What a sentence can ask for: morphometrics, and the length and thickness of the left lobe or part."""
LEVELS: Mapping[float, float] = {0.0: 0.0, 0.5: 0.39, 1.0: 0.84, 2.0: 1.64}
"""Standard deviations that words mean: average; "slightly" or "not" the opposite (the 35 and 65 % quantiles of a normal
population); the plain word (20 and 80 %); "very" (5 and 95 %)."""
_OTHER = 0.3
"""How often a share of the left lobe is said of the right one, the other way round."""
_DENIED = 0.5
"""The level of what is said by denying its opposite: "not a large liver" is a slightly small one."""
_ATTRIBUTIVE = 2
"""Longer phrases do not stand before a noun."""
_IRREGULAR = {"big": "bigger", "thin": "thinner", "flat": "flatter", "slim": "slimmer", "fat": "fatter"}
_SHORT = frozenset(
    (
        *("large", "wide", "small", "tall", "high", "deep", "round", "thick", "long", "short", "low", "broad"),
        *("narrow", "shallow", "great", "plump"),
    )
)


@dataclass(frozen=True, slots=True)
class Description:
    """A sentence and what it asks for.

    Args:
        text: the sentence.
        targets: for each attribute that is named, standard deviations from the population's mean.
    """

    text: str
    targets: Mapping[str, float]


@lru_cache(maxsize=1)
def lexicon() -> Mapping[str, Any]:
    """Return the word lists of both wordings."""
    return dict(json.loads(WORDS.read_text(encoding="utf-8")))


def level_of(z: float) -> float:
    """Return the signed level of `LEVELS` whose meaning is nearest to z standard deviations."""
    size = min(LEVELS, key=lambda level: abs(LEVELS[level] - abs(z)))
    return float(np.copysign(size, z)) if size else 0.0


def describe(
    z: Mapping[str, float], rng: np.random.Generator, *, words: Wording = "train", frames: Wording = "train"
) -> Description:
    """Describe a shape.

    Args:
        z: for one to four attributes, standard deviations from the population's mean; each is rounded to a level.
        rng: of the choice of words.
        words: where adjectives, nouns and hedges come from.
        frames: where the sentence's frame comes from.
    """
    levels = {name: level_of(value) for name, value in z.items()}
    speech = _Speech(lexicon()[words], rng)
    while True:
        frame = str(rng.choice(lexicon()[frames]["frames"]))
        slots = re.findall(r"\{([APWLN])\}", frame)
        given: dict[str, list[str]] = {slot: [] for slot in slots}
        for name in rng.permutation(list(levels)):
            fitting = "WL" if name in LOBE else "APWN" if abs(levels[str(name)]) == _DENIED else "APW"
            usable = [slot for slot in given if slot in fitting and not (slot == "N" and given["N"])]
            if not usable:
                break
            given[str(rng.choice(usable))].append(str(name))
        else:
            if all(given.values()):
                break
    parts = {slot: speech.slot(slot, {name: levels[name] for name in names}) for slot, names in given.items()}
    targets = {name: float(np.copysign(LEVELS[abs(level)], level)) for name, level in levels.items()}
    return Description(speech.finished(frame, parts), targets)


def describe_nothing(rng: np.random.Generator, *, words: Wording = "train") -> Description:
    """Return a sentence that asks for no attribute: about an organ and nothing special, or about something else."""
    speech = _Speech(lexicon()[words], rng)
    return Description(speech.finished(speech.any("nothing"), {}), {})


def descriptions(count: int, *, seed: int, words: Wording, frames: Wording, nothing: float = 0.2) -> list[Description]:
    """Return many descriptions of one to four attributes at random levels, a share of them asking for nothing."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        if rng.random() < nothing:
            found.append(describe_nothing(rng, words=words))
            continue
        size = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1]))
        # the lobe is named as often as the whole
        odds = np.array([1 / len(WHOLE)] * len(WHOLE) + [1 / len(LOBE)] * len(LOBE)) / 2
        names = rng.choice(ATTRIBUTES, size=size, replace=False, p=odds)
        levels = rng.choice([0.0, 0.5, 1.0, 2.0], size=size, p=[0.07, 0.23, 0.45, 0.25]) * rng.choice([-1, 1], size)
        z = {str(name): np.copysign(LEVELS[abs(level)], level) for name, level in zip(names, levels, strict=True)}
        found.append(describe(z, rng, words=words, frames=frames))
    return found


class _Speech:
    """Chooses words of one wording."""

    def __init__(self, words: Mapping[str, Any], rng: np.random.Generator) -> None:
        self.words, self.rng = words, rng

    def any(self, key: str) -> str:
        return str(self.rng.choice(self.words[key]))

    def slot(self, slot: str, levels: Mapping[str, float]) -> str:
        """Fill a frame's slot: A before the organ, P after "is", W after "with", L a clause about the left part, N what
        the organ is said not to be."""
        if slot == "N":
            ((name, level),) = levels.items()
            return self.word(name, "-1" if level > 0 else "1", short=True)
        if slot in "AP":
            said = [self.adjective(name, level, short=slot == "A") for name, level in levels.items()]
            joined = self.joined(said, levels.values())
            return joined if slot == "P" else joined.replace(" and ", ", ") if self.rng.random() < 0.5 else joined
        if slot == "L":
            possessive = str(self.rng.choice(["its", "the", "the"]))
            if set(levels) == {"left-share"} and self.rng.random() < _OTHER:
                return f"{possessive} {self.any('other-part')} is {self.adjective('left-share', -levels['left-share'])}"
            said = [self.adjective(name, level) for name, level in levels.items()]
            return f"{possessive} {self.any('part')} is {self.joined(said, levels.values())}"
        nouns, lobe = [], {}
        for name, level in levels.items():
            if name in LOBE and self.rng.random() < 0.85:
                lobe[name] = level
            else:
                nouns.append(self.amount(name, level))
        return " and ".join([*([self.lobe(lobe)] if lobe else []), *nouns])

    def lobe(self, levels: Mapping[str, float]) -> str:
        if set(levels) == {"left-share"} and self.rng.random() < _OTHER:
            return f"a {self.adjective('left-share', -levels['left-share'], short=True)} {self.any('other-part')}"
        said = [self.adjective(name, level, short=True) for name, level in levels.items()]
        return f"a {', '.join(said) if self.rng.random() < 0.6 else ' and '.join(said)} {self.any('part')}"

    def amount(self, name: str, level: float) -> str:
        size = "1" if abs(level) == 0.5 else str(int(abs(level)))
        key = f"-{size}" if level < 0 and size != "0" else size
        amount = str(self.rng.choice(self.words["amount"][key]))
        if abs(level) == 0.5:
            article, _, rest = amount.rpartition(" ")
            amount = f"{article} {self.any('mild')} {rest}".strip()
        return f"{amount} {self.rng.choice(self.words['noun'][name])}"

    def adjective(self, name: str, level: float, *, short: bool = False) -> str:
        """Return a phrase that means a level; `short`: one that can stand before a noun."""
        chance, sign = self.rng.random(), -1 if level < 0 else 1
        if level == 0:
            return self.word(name, "0", short=False)
        same, other = ("1", "-1") if sign > 0 else ("-1", "1")
        if abs(level) == 0.5:
            if chance < 0.45:
                return f"{self.any('mild')} {self.word(name, same, short=short)}"
            if chance < 0.85 or short:
                return f"{self.any('not')} {self.word(name, other, short=short)}"
            return self.compared(name, same, self.any("little"))
        if abs(level) == 1:
            if chance < 0.72 or short:
                return self.word(name, same, short=short)
            if chance < 0.8:
                return f"{self.any('plain')} {self.word(name, same, short=short)}"
            if chance < 0.88:
                return f"{self.any('opposite')} {self.word(name, other, short=True)}"
            return self.compared(name, same, "")
        if chance < 0.45:
            return self.word(name, "2" if sign > 0 else "-2", short=False)
        if chance < 0.85 or short:
            return f"{self.any('strong')} {self.word(name, same, short=short)}"
        return self.compared(name, same, self.any("much"))

    def word(self, name: str, key: str, *, short: bool) -> str:
        words = self.words["lobe" if name in LOBE else "whole"][name][key]
        fitting = [word for word in words if not short or len(word.split()) <= _ATTRIBUTIVE]
        return str(self.rng.choice(fitting or words))

    def compared(self, name: str, key: str, how_much: str) -> str:
        word = self.word(name, key, short=True)
        first, _, rest = word.partition(" ")
        if first in _SHORT or first in _IRREGULAR:
            more = f"{_IRREGULAR.get(first) or first.removesuffix('e') + 'er'} {rest}".strip()
        else:
            more = f"more {word}"
        return " ".join(part for part in (how_much, more, self.any("comparative")) if part)

    def joined(self, said: Sequence[str], levels: Any) -> str:
        if len(said) == 1:
            return said[0]
        signs = {value > 0 for value in levels}
        last = "but" if len(signs) == 2 and self.rng.random() < 0.5 else "and"
        return f"{', '.join(said[:-1])} {last} {said[-1]}"

    def finished(self, frame: str, parts: Mapping[str, str]) -> str:
        text = frame.replace("{O}", self.any("organ"))
        for slot, words in parts.items():
            text = text.replace(f"{{{slot}}}", words)
        text = re.sub(r"\b([Aa])n? (?=[aeiou])", r"\1n ", text)
        text = re.sub(r"\b([Aa])n (?=[^aeiou])", r"\1 ", text)
        text = text if self.rng.random() < 0.6 else text[:1].upper() + text[1:]
        return text + str(self.rng.choice(["", "", ".", "!"])) if text[-1] not in "?.!" else text
