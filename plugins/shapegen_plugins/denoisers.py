"""The denoising networks that come with shapegen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from shapegen import Config, Plugin, hookimpl


class TransformerConfig(Config):
    """The defaults have 1.25 M parameters; width 2880, depth 12, heads 16, time 'token' are the original's blocks."""

    width: int = Field(128, ge=8, description="Width of the tokens inside the network.")
    depth: int = Field(4, ge=1, description="Number of blocks.")
    heads: int = Field(4, ge=1, description="Attention heads; must divide the width.")
    mlp_ratio: float = Field(4.0, gt=0, description="Width of the blocks' perceptrons over the width of the tokens.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on what each attention and perceptron adds.")
    time: Literal["adaln", "token"] = Field(
        "adaln",
        description="How t comes in: 'adaln' modulates every block (DiT), 'token' is one more token (the original).",
    )
    per_token: bool = Field(
        False, description="Give every token its own input and output projection, as the original does."
    )
    cross_attention: bool = Field(False, description="Let the blocks attend to condition tokens.")
    gradient_checkpointing: bool = Field(
        False,
        description="Training computes each block twice and keeps only its input: less memory, more time.",
    )

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads must divide width, got {self.heads} heads and width {self.width}")
        return self


class Unet1dConfig(Config):
    channels: int = Field(64, ge=16, multiple_of=8, description="Channels at full length, a multiple of 8.")
    mults: tuple[int, ...] = Field(
        (1, 2, 2), min_length=1, description="Channels of each level, as multiples; each level halves the length."
    )
    blocks: int = Field(1, ge=1, description="Residual blocks for each level.")
    heads: int = Field(4, ge=1, description="Attention heads at the bottom; must divide the channels there.")
    length: int = Field(
        0, ge=0, description="Length that the tokens are lifted to, at least; 0: as many as there are tokens."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the residual blocks.")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if min(self.mults) < 1:
            raise ValueError(f"mults must be >= 1, got {self.mults}")
        if self.channels * self.mults[-1] % self.heads:
            raise ValueError(
                f"heads must divide the channels at the bottom, got {self.heads} and {self.channels * self.mults[-1]}"
            )
        return self


class MlpConfig(Config):
    hidden: int = Field(256, ge=8, description="Width of the residual stream.")
    depth: int = Field(3, ge=1, description="Number of residual blocks.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the residual blocks.")


def build_transformer(config: TransformerConfig, *, tokens: int, width: int) -> Any:
    from shapegen_plugins.transformer import Transformer

    return Transformer(
        tokens,
        width,
        inner=config.width,
        depth=config.depth,
        heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        dropout=config.dropout,
        time=config.time,
        per_token=config.per_token,
        cross_attention=config.cross_attention,
        gradient_checkpointing=config.gradient_checkpointing,
    )


def build_unet1d(config: Unet1dConfig, *, tokens: int, width: int) -> Any:
    from shapegen_plugins.unet1d import Unet1d

    return Unet1d(
        tokens,
        width,
        channels=config.channels,
        mults=config.mults,
        blocks=config.blocks,
        heads=config.heads,
        length=config.length,
        dropout=config.dropout,
    )


def build_mlp(config: MlpConfig, *, tokens: int, width: int) -> Any:
    from shapegen_plugins.mlp import ResidualMlp

    return ResidualMlp(tokens, width, hidden=config.hidden, depth=config.depth, dropout=config.dropout)


@hookimpl
def shapegen_denoisers() -> Iterator[Plugin]:
    yield Plugin(
        name="transformer",
        summary="Transformer over tokens, conditioned on the noise level by adaptive layer norm (DiT)",
        build=build_transformer,
        config=TransformerConfig,
    )
    yield Plugin(
        name="unet1d",
        summary="1D U-Net along the tokens, with attention at the bottom",
        build=build_unet1d,
        config=Unet1dConfig,
    )
    yield Plugin(
        name="mlp",
        summary="Residual perceptron on all tokens at once: a small baseline",
        build=build_mlp,
        config=MlpConfig,
    )
