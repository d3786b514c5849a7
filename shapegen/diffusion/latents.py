"""What is generated: the codes of a weight space, and one more token that carries the size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Standardisation = Literal["entry", "global", "none"]

SIZE_FLOOR = 1e-3
"""Smallest standard deviation taken for the log size: 0.1 % of size, below what a segmentation resolves."""


@dataclass(frozen=True, slots=True, eq=False)
class LatentLayout:
    """Where things lie in a latent x [n, tokens + 1, width].

    Tokens 0 to tokens - 1 are the code; the last token holds the natural logarithm of the scale (mm for one canonical
    unit) in channel 0 and padding in the others.

    Args:
        code_mask: bool [tokens, width] of the weight space; False is padding.
    """

    code_mask: Tensor

    @property
    def tokens(self) -> int:
        """How many tokens a latent has, the size's included."""
        return self.code_mask.shape[0] + 1

    @property
    def width(self) -> int:
        return self.code_mask.shape[1]

    @property
    def size_mask(self) -> Tensor:
        """bool [tokens, width]: the one entry of the log size."""
        mask = torch.zeros(self.tokens, self.width, dtype=torch.bool)
        mask[-1, 0] = True
        return mask

    @property
    def mask(self) -> Tensor:
        """bool [tokens, width]: the entries that are generated."""
        mask = self.size_mask
        mask[:-1] = self.code_mask
        return mask


def assemble(layout: LatentLayout, codes: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Put codes and sizes together.

    Args:
        layout: of the weight space.
        codes: [n, tokens, width].
        log_scale: [n], ln(mm).

    Returns:
        Latents [n, tokens + 1, width], not yet standardised, zero where padded, and their mask [tokens + 1, width].

    Raises:
        ValueError: the shapes do not fit.
    """
    if codes.shape[1:] != layout.code_mask.shape or log_scale.shape != codes.shape[:1]:
        raise ValueError(
            f"expected codes [n, {layout.tokens - 1}, {layout.width}] and log_scale [n], "
            f"got {list(codes.shape)} and {list(log_scale.shape)}"
        )
    x = codes.new_zeros(len(codes), layout.tokens, layout.width)
    x[:, :-1] = codes * layout.code_mask
    x[:, -1, 0] = log_scale
    return x, layout.mask


def split(layout: LatentLayout, x: Tensor) -> tuple[Tensor, Tensor]:
    """Undo `assemble`: return codes [n, tokens, width], zero where padded, and log_scale [n]."""
    return x[:, :-1] * layout.code_mask, x[:, -1, 0].clone()


@dataclass(frozen=True, slots=True, eq=False)
class LatentScaler:
    """Standardises latents: (x - mean) / std for each entry; padding stays zero.

    Args:
        mean: [tokens, width]; zero where padded.
        std: [tokens, width], > 0; one where padded.
    """

    mean: Tensor
    std: Tensor

    def standardise(self, x: Tensor) -> Tensor:
        """Return x [n, tokens, width] with the training rows' mean taken away and their spread divided out."""
        return (x - self.mean) / self.std

    def restore(self, x: Tensor) -> Tensor:
        """Undo `standardise`."""
        return x * self.std + self.mean

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "std": self.std}

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> LatentScaler:
        return LatentScaler(state["mean"], state["std"])


def fit_scaler(
    layout: LatentLayout, x: Tensor, *, standardisation: Standardisation = "entry", floor: float = 1e-3
) -> LatentScaler:
    """Measure the standardisation on the training rows.

    Args:
        layout: of x.
        x: training latents only, [n, tokens, width], n >= 1; held-out rows would leak into what is generated.
        standardisation: of the code: "entry": each entry by its own mean and standard deviation; "global": all by one
            mean and one deviation, which keeps their relative spread; "none". The log size, whose unit has nothing to
            do with the code's, is always standardised.
        floor: entries of the code that vary less than this part of the code's typical (root mean square) deviation
            are divided by that, so that an entry that hardly varies is not blown up into noise.

    Raises:
        ValueError: no training row, values that are not finite, or another name for the standardisation.
    """
    if len(x) == 0 or not x.isfinite().all():
        raise ValueError(
            f"expected at least one training row and finite values, got {len(x)} rows, "
            f"{int((~x.isfinite()).sum())} values that are not finite"
        )
    mask, size = layout.mask, layout.size_mask
    code = mask & ~size
    mean = x.double().mean(dim=0)
    variance = x.double().var(dim=0, unbiased=False)
    typical = float(variance[code].mean().sqrt()) if bool(code.any()) else 0.0
    if standardisation == "entry":
        std = variance.sqrt().clamp(min=floor * typical if typical > 0 else 1.0)
    elif standardisation == "global":
        overall = x.double()[:, code]
        mean = torch.where(size, mean, overall.mean() if overall.numel() else 0.0)
        spread = float(overall.std(unbiased=False)) if overall.numel() else 0.0
        std = torch.full_like(mean, spread if spread > 0 else 1.0)
    elif standardisation == "none":
        mean, std = torch.where(size, mean, 0.0), torch.ones_like(mean)
    else:
        raise ValueError(f"standardisation must be 'entry', 'global' or 'none', got {standardisation!r}")
    std = torch.where(size, variance.sqrt().clamp(min=SIZE_FLOOR), std)
    return LatentScaler(torch.where(mask, mean, 0.0).to(x.dtype), torch.where(mask, std, 1.0).to(x.dtype))


CALIBRATION_ROWS = 4
"""Fewer held-out rows than this do not calibrate the spread."""
_WINDOW = 17  # neighbouring entries that share an estimate: with 12 held-out rows it is good to about 5 %


def calibrated(layout: LatentLayout, scaler: LatentScaler, held_out: Tensor) -> LatentScaler:
    """Return the scaler with the code's deviations widened to what held-out shapes show.

    A weight space is learned together with the training codes, so these are narrower than the codes of shapes that it
    has never seen: on livers by 0 to 10 % along the first axes and by half along the last. Samples restored
    with the training codes' deviations lie too near to one another. The factor is the root mean square of the
    standardised held-out rows over a window of 17 neighbouring entries, never below 1; the log size keeps its own.

    Args:
        layout: of the latents.
        scaler: measured on the training rows.
        held_out: [m, tokens, width], validation latents, not standardised. With m < 4 the scaler is returned as it is.
    """
    code = layout.mask & ~layout.size_mask
    if len(held_out) < CALIBRATION_ROWS or not code.any():
        return scaler
    power = scaler.standardise(held_out)[:, code].square().mean(dim=0)
    smooth = nn.functional.avg_pool1d(
        power[None, None], _WINDOW, stride=1, padding=_WINDOW // 2, count_include_pad=False
    )[0, 0]
    factor = torch.ones_like(scaler.std)
    factor[code] = smooth.sqrt().clamp(min=1)
    return LatentScaler(scaler.mean, scaler.std * factor)
