"""Patients of whom the organs are ellipsoids whose sizes and places go together as is known."""

from __future__ import annotations

import nibabel
import numpy as np
import torch

from shapegen.data.placement import Placement
from shapegen.diffusion.latents import LatentLayout, LatentScaler
from shapegen.generator import Generator
from shapegen.scenes.members import MIRROR, Member, Seen

SPACING = 5.0
ORGANS = {"liver": (1,), "spleen": (2,), "kidney": (3, 4)}
"""Organ plugins and the labels of `write_scan`."""
BODIES = {
    1: ((50.0, 0.0, 20.0), (85.0, 70.0, 62.0)),
    2: ((-85.0, -20.0, 30.0), (30.0, 38.0, 52.0)),
    3: ((-55.0, -50.0, -55.0), (27.0, 24.0, 50.0)),
    4: ((50.0, -55.0, -75.0), (27.0, 24.0, 50.0)),
}
"""Centre and half-axes of each label, mm, RAS: x to the right."""


def write_scan(path, seed):
    """Write the label map of one patient; organs grow together, and a large liver pushes the right kidney down."""
    rng = np.random.default_rng(seed)
    size = rng.normal(0, 0.12)
    affine = np.diag([SPACING] * 3 + [1.0])
    affine[:3, 3] = np.array([-150.0, -120.0, -170.0]) + rng.uniform(-40, 40, 3)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in (62, 46, 64)), indexing="ij"), axis=-1)
    points = index * SPACING + affine[:3, 3]
    middle = affine[:3, 3] + SPACING * (np.array(index.shape[:3]) - 1) / 2
    labels = np.zeros(index.shape[:3], dtype=np.uint8)
    for label, (centre, axes) in BODIES.items():
        grown = np.array(axes) * np.exp(size + rng.normal(0, 0.05, 3))
        at = middle + np.array(centre) + rng.normal(0, 3, 3) - [0, 0, 80 * size * (label == 4)]
        x, y, z = np.moveaxis((points - at) / grown, -1, 0)
        labels[(x**2 + y**2 + (z - 0.15 * x**2) ** 2 < 1) & (labels == 0)] = label
    nibabel.save(nibabel.Nifti1Image(labels, affine), path)


class Normal:
    """A generator of latents: standard normal."""

    def __init__(self, mask):
        self.mask = mask

    def sample(self, count, *, seed, device="cpu", progress=None):
        x = torch.zeros(count, *self.mask.shape)
        for number in range(count):
            rng = torch.Generator().manual_seed((seed + number) % 2**62)
            x[number, self.mask] = torch.randn(int(self.mask.sum()), generator=rng)
        return x


class Folder:
    """What a member asks of its run in tests that draw no shapes."""

    def __init__(self, name):
        self.folder = name


def generator_of(axes, *, log_scale, spread):
    """Return a generator of `axes` numbers and a log scale with this mean and spread, which makes no shapes."""
    layout = LatentLayout(torch.ones(1, axes, dtype=torch.bool))
    mean, std = torch.zeros(2, axes), torch.ones(2, axes)
    mean[-1, 0], std[-1, 0] = log_scale, spread
    return Generator(None, None, Normal(layout.mask), layout, LatentScaler(mean, std), "cpu", "normal")


def members_of(count, *, seed=0, axes=2, coupled=True):
    """Return three organs of as many patients: a reference, one that follows it, and one that is learned mirrored.

    Of the second, the log scale's correlation with the reference's is 0.8, and its z falls by 10 mm for each deviation
    of the reference's first axis, with 5 mm of its own. `coupled=False`: everything is independent.
    """
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((3, count, axes + 1))
    if coupled:
        rows[1, :, -1] = 0.8 * rows[0, :, -1] + 0.6 * rows[1, :, -1]
    z = 5 * rng.standard_normal(count) - (10 * rows[0, :, 0] if coupled else 0)
    base = rng.uniform(-500, 500, (count, 3))
    offsets = ([0.0, 0, 0], [120.0, 0, 0], [-60.0, -40, 10])
    places = [base + np.array(offset) for offset in offsets]
    places[1][:, 2] += z
    found = []
    for number, (name, means) in enumerate((("one", 6.0), ("two", 5.0), ("three-left", 4.5))):
        generator = generator_of(axes, log_scale=means, spread=0.1)
        mirrored = number == 2
        scans = {}
        for k in range(count):
            centre = places[number][k] + rng.normal(0, 2, 3) * (number > 0)
            own = MIRROR @ centre if mirrored else centre
            scale = float(np.exp(means + 0.1 * rows[number, k, -1]))
            place = Placement(scale, own, turn(rng.normal(0, 0.1, 3)))
            scans[f"p{k}"] = Seen(patient=f"p{k}", split="train", latent=rows[number, k], placement=place)
        member = Member(name=name, run=Folder(name), generator=generator, mirrored=mirrored, scans=scans)
        found.append(member)
    return tuple(found)


def turn(vector):
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(vector).as_matrix()
