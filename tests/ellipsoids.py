"""A generator of ellipsoids whose semi-axes are known, as a stand-in for a trained one."""

from __future__ import annotations

import numpy as np
import torch
import trimesh
from torch import nn

from shapegen.diffusion.latents import LatentLayout, LatentScaler
from shapegen.generator import Generator
from shapegen.geometry.surface import Surface

SCALE, SPREAD = 200.0, 0.12
AXES = np.array([0.40, 0.30, 0.22])


class Ellipsoid(nn.Module):
    """Approximate signed distance of an ellipsoid whose three semi-axes are the weights (Quilez: k0 (k0 - 1) / k1)."""

    kind = "sdf"

    def __init__(self):
        super().__init__()
        self.axes = nn.Parameter(torch.tensor(AXES, dtype=torch.float32))

    def forward(self, xyz):
        k0 = (xyz / self.axes).square().sum(-1).clamp(min=1e-9).sqrt()
        k1 = (xyz / self.axes.square()).square().sum(-1).clamp(min=1e-9).sqrt()
        return (10 * k0 * (k0 - 1) / k1).clamp(-1, 1)


class Axes:
    """A code of one token is the logarithm of the semi-axes, relative to the mean and in spreads."""

    mask = torch.ones(1, 3, dtype=torch.bool)

    def decode(self, codes):
        return torch.tensor(AXES, dtype=torch.float32) * torch.exp(SPREAD * codes[:, 0])


class Normal:
    def __init__(self, mask):
        self.mask = mask

    def sample(self, count, *, seed, device="cpu", progress=None):
        rows = [
            torch.randn(self.mask.shape, generator=torch.Generator().manual_seed(seed % 2**40 + n))
            for n in range(count)
        ]
        return torch.stack(rows) * self.mask


def ellipsoid_generator():
    """Return a generator of ellipsoids, semi-axes around `AXES` and log-normal, the scale about `SCALE` mm."""
    layout = LatentLayout(Axes.mask)
    mean, std = torch.zeros(2, 3), torch.ones(2, 3)
    mean[1, 0], std[1, 0] = float(np.log(SCALE)), 0.05
    return Generator(Ellipsoid(), Axes(), Normal(layout.mask), layout, LatentScaler(mean, std), "cpu", "normal")


def ellipsoid(axes, *, centre=(0, 0, 0), scale=SCALE):
    ball = trimesh.creation.icosphere(subdivisions=4)
    return Surface(np.asarray(ball.vertices) * np.array(axes) * scale + np.array(centre), np.asarray(ball.faces))
