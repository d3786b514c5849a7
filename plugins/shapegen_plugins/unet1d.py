"""A 1D U-Net along the tokens of a latent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from shapegen.errors import ConfigError
from shapegen_plugins.time_embedding import TimeEmbedding


class ResidualBlock(nn.Module):
    """Two convolutions [b, inside, n] -> [b, outside, n], modulated by the time embedding (FiLM, Perez et al. 2018)."""

    def __init__(self, inside: int, outside: int, time: int, *, dropout: float) -> None:
        super().__init__()
        self.norm_first = nn.GroupNorm(8, inside)
        self.first = nn.Conv1d(inside, outside, 3, padding=1)
        self.norm_second = nn.GroupNorm(8, outside, affine=False)
        self.film = nn.Linear(time, 2 * outside)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Conv1d(outside, outside, 3, padding=1)
        self.skip = nn.Conv1d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.film(time)[..., None].chunk(2, dim=1)
        hidden = self.first(functional.silu(self.norm_first(x)))
        hidden = self.norm_second(hidden) * (1 + scale) + shift
        return self.skip(x) + self.second(self.dropout(functional.silu(hidden)))


class BottomAttention(nn.Module):
    """Residual self-attention along the length of x [b, channels, n]."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.query_key_value = nn.Conv1d(channels, 3 * channels, 1)
        self.out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        packed = self.query_key_value(self.norm(x)).unflatten(1, (3, self.heads, -1))
        query, key, value = packed.permute(1, 0, 2, 4, 3)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return x + self.out(mixed.transpose(2, 3).flatten(1, 2))


class Unet1d(nn.Module):
    """`(x[b, tokens, width], t[b], None) -> [b, tokens, width]`: features are channels, tokens are the length.

    Tokens have no natural order or number, so a learned linear map first lifts them to a length that halves evenly at
    each level, and another brings them back (the original lifts 8 tokens to 32 likewise). The output starts at zero.

    Args:
        tokens, width: of the data; any, from 1.
        channels: at full length, a multiple of 8, at least 16.
        mults: channels of each level as multiples.
        blocks: residual blocks for each level, down and up.
        heads: of the attention at the bottom.
        length: to lift to, at least; rounded up to a multiple of 2^(levels - 1).
        dropout: in the residual blocks.
    """

    def __init__(
        self,
        tokens: int,
        width: int,
        *,
        channels: int,
        mults: Sequence[int],
        blocks: int = 1,
        heads: int = 4,
        length: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        multiple = 2 ** (len(mults) - 1)
        lifted = -(-max(tokens, length) // multiple) * multiple
        time = 4 * channels
        sizes = [channels * mult for mult in mults]
        self.time = TimeEmbedding(time)
        self.lift = nn.Linear(tokens, lifted)
        self.into = nn.Conv1d(width, channels, 3, padding=1)
        self.positions = nn.Parameter(torch.empty(channels, lifted).normal_(std=0.1))
        self.down = nn.ModuleList()
        self.shrink = nn.ModuleList()
        self.up = nn.ModuleList()
        self.grow = nn.ModuleList()
        inside = channels
        for level, size in enumerate(sizes):
            self.down.append(_stack(inside, size, time, blocks, dropout))
            self.shrink.append(
                nn.Conv1d(size, size, 4, stride=2, padding=1) if level + 1 < len(sizes) else nn.Identity()
            )
            inside = size
        self.middle_first = ResidualBlock(inside, inside, time, dropout=dropout)
        self.attention = BottomAttention(inside, heads)
        self.middle_second = ResidualBlock(inside, inside, time, dropout=dropout)
        for level, size in reversed(list(enumerate(sizes))):
            self.up.append(_stack(inside + size, size, time, blocks, dropout))
            self.grow.append(nn.ConvTranspose1d(size, size, 4, stride=2, padding=1) if level else nn.Identity())
            inside = size
        self.norm = nn.GroupNorm(8, inside)
        self.out = nn.Conv1d(inside, width, 3, padding=1)
        self.lower = nn.Linear(lifted, tokens)
        for parameter in (*self.out.parameters(), self.lower.bias):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """Estimate from noisy x at level t, any real number.

        Raises:
            ConfigError: a condition was given; this network takes none.
        """
        if cond is not None:
            raise ConfigError("denoiser 'unet1d' takes no condition; use denoiser 'transformer' with cross_attention")
        time = functional.silu(self.time(t))
        hidden = self.into(self.lift(x.transpose(1, 2))) + self.positions
        kept: list[Tensor] = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            hidden = _run(blocks, hidden, time)
            kept.append(hidden)
            hidden = shrink(hidden)
        hidden = self.middle_second(self.attention(self.middle_first(hidden, time)), time)
        for blocks, grow in zip(self.up, self.grow, strict=True):
            hidden = grow(_run(blocks, torch.cat([hidden, kept.pop()], dim=1), time))
        hidden = self.out(functional.silu(self.norm(hidden)))
        return self.lower(hidden).transpose(1, 2)


def _stack(inside: int, outside: int, time: int, blocks: int, dropout: float) -> nn.ModuleList:
    sizes = [inside] + [outside] * blocks
    return nn.ModuleList(ResidualBlock(a, b, time, dropout=dropout) for a, b in pairwise(sizes))


def _run(blocks: nn.Module, x: Tensor, time: Tensor) -> Tensor:
    for block in blocks.children():
        x = block(x, time)
    return x
