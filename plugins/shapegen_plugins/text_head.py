"""From a sentence's tokens to what it asks for: for each attribute, whether it is named, and where it shall lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shapegen.store import read_tensors
from shapegen_plugins.sentence_encoder import sentence_encoder
from shapegen_plugins.text_descriptions import ATTRIBUTES, LEVELS

WEIGHTS = Path(__file__).with_name("text_head.safetensors")
LAYERS = (4, 6)
"""Of the encoder whose outputs are read; with earlier ones, which hold single words, unknown words were read worse."""
ASKED = 0.5
"""Probability from which an attribute counts as named."""
PLAIN: Mapping[str, tuple[str, str, str]] = {
    "volume": ("volume", "small", "large"),
    "extent-left-right": ("width", "small", "large"),
    "extent-head-foot": ("height", "small", "large"),
    "extent-front-back": ("depth", "small", "large"),
    "sphericity": ("form", "elongated", "round"),
    "thickness-50": ("form", "thin", "thick"),
    "left-share": ("left lobe", "small", "large"),
    "left-length": ("left lobe", "short", "long"),
    "left-thickness": ("left lobe", "thin", "thick"),
}
"""How what was understood is said: of what, below and above the average."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One attribute that a sentence names.

    Args:
        attribute: of `shapegen_plugins.text_descriptions.ATTRIBUTES`.
        z: where it shall lie, in standard deviations from the population's mean.
        spread: standard deviation of that.
        probability: that it is named at all.
    """

    attribute: str
    z: float
    spread: float
    probability: float

    def __str__(self) -> str:
        what, below, above = PLAIN[self.attribute]
        level = min(LEVELS, key=lambda size: abs(LEVELS[size] - abs(self.z)))
        how = {0.0: "average in being ", 0.5: "rather ", 1.0: "", 2.0: "very "}[level]
        return f"{what} {how}{above if self.z > 0 or not level else below}"


class TextHead(nn.Module):
    """Attention over tokens [b, layers, t, 384]; one query for each attribute.

    Args:
        width: of the encoder's tokens.
        inner: width of the tokens inside.
        dropout: while training.
        noise: standard deviation of noise on the tokens while training, in their own spreads: a word that was never
            seen lies near one that was.
    """

    def __init__(self, width: int = 384, inner: int = 128, dropout: float = 0.15, noise: float = 0.3) -> None:
        super().__init__()
        self.noise = noise
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.into = nn.Linear(len(LAYERS) * width, inner)
        self.drop = nn.Dropout(dropout)
        options: dict[str, Any] = {"dim_feedforward": 2 * inner, "dropout": dropout, "batch_first": True}
        self.reads = nn.TransformerEncoderLayer(inner, 4, activation="gelu", **options)
        self.asks = nn.TransformerDecoderLayer(inner, 4, activation="gelu", **options)
        self.queries = nn.Parameter(torch.randn(len(ATTRIBUTES), inner))
        self.out = nn.Linear(inner, 3)

    def forward(self, outputs: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return, for each of k attributes, the logit of its being named [b, k], and mean and logarithm of the standard
        deviation of where it shall lie [b, k].

        Args:
            outputs: [b, len(LAYERS), t, width] of the encoder.
            words: bool [b, t]: which tokens are words.
        """
        x = self.norm(outputs)
        if self.training and self.noise:
            x = x + self.noise * torch.randn_like(x)
        x = self.drop(self.into(x.transpose(1, 2).flatten(2)))
        away = torch.zeros(words.shape, device=x.device).masked_fill(~words, float("-inf"))
        x = self.reads(x, src_key_padding_mask=away)
        queries = self.queries.expand(len(x), -1, -1)
        named, mean, log_std = self.out(self.asks(queries, x, memory_key_padding_mask=away)).unbind(dim=-1)
        return named, mean, log_std.clamp(-3, 1)


@lru_cache(maxsize=1)
def shipped_head() -> TextHead:
    """Return the head that comes with shapegen (`python -m shapegen_plugins.make_text_head`)."""
    head = TextHead()
    head.load_state_dict({name: value.float() for name, value in read_tensors(WEIGHTS).items()})
    return head.requires_grad_(False).eval()


def read_sentences(sentences: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities, means and standard deviations [b, k] of what sentences ask for.

    Raises:
        MissingLibraryError: the encoder is not installed.
    """
    outputs, words = sentence_encoder()(sentences)
    named, mean, log_std = shipped_head()(outputs[:, list(LAYERS)], words)
    return named.sigmoid(), mean, log_std.exp()


def understood(sentence: str) -> list[Asked]:
    """Return the attributes that a sentence names, those with the highest probability first; none: nothing was
    understood."""
    probability, mean, std = (each[0].tolist() for each in read_sentences([sentence]))
    found = [Asked(*row) for row in zip(ATTRIBUTES, mean, std, probability, strict=True) if row[3] >= ASKED]
    return sorted(found, key=lambda each: -each.probability)
