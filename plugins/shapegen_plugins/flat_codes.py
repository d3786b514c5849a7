"""Codes that are K numbers in a row, cut into tokens: what the weight spaces with K axes share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def token_mask(size: int, width: int) -> Tensor:
    """Return bool [tokens, width] for K = `size` numbers: True for the first K entries, False for padding."""
    tokens = math.ceil(size / width)
    return (torch.arange(tokens * width) < size).reshape(tokens, width)


def to_tokens(flat: Tensor, width: int) -> Tensor:
    """Cut flat codes [n, K] into tokens [n, tokens, width], zero where padded."""
    tokens = math.ceil(flat.shape[1] / width)
    return nn.functional.pad(flat, (0, tokens * width - flat.shape[1])).reshape(-1, tokens, width)


def from_tokens(codes: Tensor, size: int) -> Tensor:
    """Undo `to_tokens`: return flat codes [n, K], K = `size`, of codes [n, tokens, width]."""
    return codes.flatten(1)[:, :size]
