"""The condition `text`: tokens of a sentence for a denoiser, and the attributes that it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from shapegen.conditioning.attributes import ATTRIBUTES as MEASURED
from shapegen.conditioning.target import standard_target
from shapegen.errors import ConditionValueError
from shapegen.progress import say
from shapegen.store import derived_seed
from shapegen_plugins.sentence_encoder import sentence_encoder
from shapegen_plugins.text_descriptions import ATTRIBUTES, describe
from shapegen_plugins.text_head import read_sentences, understood

if TYPE_CHECKING:
    from shapegen.conditioning.population import AttributeTable
    from shapegen.conditioning.target import Target
    from shapegen.data.population import Shape

_ENCODED = 384
_MOST = 4
"""Attributes that a description of a training shape names at most."""
_SENTENCES = 8
"""Descriptions of each training shape, each read once by the encoder."""
_NUMBERS = re.compile(r"\d+(?:\.\d+)?\s*(?:ml|cc|mm|cm|litres?|liters?|l|%)\b", re.IGNORECASE)


class Text(nn.Module):
    """Inputs are sentences in English that describe the form of an organ; or, of training shapes, their attributes in
    standard deviations from the mean, of which some sentence is made.

    An input's tokens are one for each attribute, p (e + z v) with the probability p that it is named, where it shall
    lie z (standard deviations), and e, v learned; and one from the sentence's embedding.

    Args:
        width: of the tokens.
    """

    examples = (
        "a small liver",
        "a large liver with a short left lobe",
        "The liver is round; its left lobe is not thin.",
        "a liver",
    )

    def __init__(self, width: int) -> None:
        super().__init__()
        self.named = nn.Parameter(torch.randn(len(ATTRIBUTES), width))
        self.value = nn.Parameter(torch.randn(len(ATTRIBUTES), width))
        self.sentence = nn.Linear(_ENCODED, width)
        self.known: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def forward(self, raw: Sequence[str | Mapping[str, float]]) -> Tensor:
        """Return [b, attributes + 1, width] of b inputs.

        Raises:
            MissingLibraryError: the encoder is not installed.
        """
        sentences = [each if isinstance(each, str) else described(each, 0) for each in raw]
        self._read([each for each in dict.fromkeys(sentences) if each not in self.known])
        probability, z, embedding = (
            torch.stack(rows).to(self.named) for rows in zip(*(self.known[each] for each in sentences), strict=True)
        )
        tokens = probability[..., None] * (self.named + z[..., None] * self.value)
        return torch.cat([tokens, self.sentence(embedding)[:, None]], dim=1)

    def _read(self, sentences: Sequence[str]) -> None:
        """Keep what the encoder and the head say of sentences, which training asks for again and again."""
        if not sentences:
            return
        probability, z, _ = read_sentences(sentences)
        embedding = sentence_encoder().embedding(sentences)
        self.known |= dict(zip(sentences, zip(probability, z, embedding, strict=True), strict=True))

    def parse(self, text: str) -> str:
        """Return the sentence, and say what was understood.

        Raises:
            ConditionValueError: nothing was.
            MissingLibraryError: the encoder is not installed.
        """
        sentence = text.strip().strip("\"'")
        found = understood(sentence)
        if not found:
            raise ConditionValueError(
                f"text: nothing was understood of '{sentence}'; say what is special about the organ's form, such as 'a "
                "small liver with a long, thin left lobe', or leave the condition out"
            )
        say(f"understood: {', '.join(map(str, found))}")
        if (number := _NUMBERS.search(sentence)) is not None:
            say(f"warning: {number[0]}: numbers in sentences are not read; use --condition volume=1800ml")
        return sentence

    def targets(self, raw: str, table: AttributeTable) -> list[Target]:
        """Return where the attributes that a sentence names shall lie."""
        return [standard_target(each.attribute, each.z, table) for each in understood(raw)]

    def from_shapes(self, shapes: Sequence[Shape]) -> list[dict[str, float]]:
        """Measure shapes: their attributes in standard deviations from the mean of the training shapes; 0.9 s each."""
        from shapegen.conditioning.population import aligned, measured_rows

        rows = measured_rows(aligned(shape) for shape in shapes)
        training = np.array([shape.split == "train" for shape in shapes])
        found: list[dict[str, float]] = [{} for _ in shapes]
        for name in ATTRIBUTES:
            column = rows[:, list(MEASURED).index(name)]
            column = np.log(column) if MEASURED[name].logarithmic else column
            mean, spread = np.nanmean(column[training]), max(float(np.nanstd(column[training])), 1e-6)
            for each, value in zip(found, column, strict=True):
                if np.isfinite(value):
                    each[name] = float((value - mean) / spread)
        return found

    def thinned(self, raw: str | Mapping[str, float], generator: torch.Generator) -> str:
        """Return one of a few sentences about a shape."""
        if isinstance(raw, str):
            return raw
        return described(raw, int(torch.randint(_SENTENCES, (), generator=generator)))


def described(z: Mapping[str, float], number: int) -> str:
    """Return sentence `number` about a shape: one to four of its attributes, in the training wordings.

    Args:
        z: its attributes in standard deviations from the population's mean.
        number: another one gives other attributes and words.
    """
    rng = np.random.default_rng(derived_seed(number, *(f"{name} {value:.4f}" for name, value in z.items())))
    names = [name for name in ATTRIBUTES if name in z]
    chosen = rng.choice(names, size=min(int(rng.integers(1, _MOST + 1)), len(names)), replace=False)
    return describe({str(name): z[str(name)] for name in chosen}, rng).text
