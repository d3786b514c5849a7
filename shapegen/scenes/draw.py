"""Drawing the organs of new patients: codes, sizes and poses that go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from shapegen.completion.prior import prior_of
from shapegen.data.placement import Placement
from shapegen.diffusion.latents import split
from shapegen.generator import Generator
from shapegen.scenes.joint import Joint
from shapegen.scenes.members import Member, Rows
from shapegen.store import derived_seed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """One organ of every scene.

    Args:
        codes: [n, tokens, width].
        scales: [n], mm for one canonical unit.
        placements: n, in the patient's frame: RAS, mm, origin at the reference's canonical centre.
        seed: of the samples' surface detail.
    """

    codes: Tensor
    scales: Tensor
    placements: tuple[Placement, ...]
    seed: int


def draw_organs(members: Sequence[Member], joint: Joint, count: int, *, seed: int) -> tuple[Drawn, ...]:
    """Draw scenes; scene i depends on (seed, i) alone.

    The reference is a draw of its run's generator. Leading axes, sizes and poses of the others follow the joint
    distribution, given the reference's leading axes and size. The rest of an organ's latent is a draw of its own
    generator, moved along as a Gaussian with the generator's covariance C would: x + C_l C_ll^-1 (a - x_l), with a the
    leading axes l that it shall have (conditioning by kriging; exact for a Gaussian generator).

    Args:
        members: as the joint distribution was learned from.
        joint: of them.
        count: scenes.
        seed: of everything random.
    """
    blocks = joint.blocks
    latents = [
        member.generator.latents.sample(
            count, seed=derived_seed(seed, "together", member.name), device=member.generator.device
        )
        for member in members
    ]
    own = [x[:, m.generator.layout.mask].double().numpy() for x, m in zip(latents, members, strict=True)]
    leading = [np.append(np.arange(axes), rows.shape[1] - 1) for axes, rows in zip(blocks.axes, own, strict=True)]
    known = own[0][:, leading[0]]
    mean, factor = joint.given(known)
    noise = np.stack(
        [
            np.random.default_rng(derived_seed(seed, "together", "scene", number)).standard_normal(len(factor))
            for number in range(count)
        ]
    )
    rows = np.concatenate([known, mean + noise @ factor.T], axis=1)
    drawn = []
    for organ, member in enumerate(members):
        if organ:
            wanted = rows[:, blocks.lead(organ)]
            own[organ] = _moved(own[organ], leading[organ], wanted, _covariance(member.generator, seed))
        x = latents[organ].clone()
        x[:, member.generator.layout.mask] = torch.from_numpy(own[organ]).to(x.dtype)
        codes, log_scale = split(member.generator.layout, member.generator.scaler.restore(x))
        scales = log_scale.exp()
        centres = rows[:, blocks.centre(organ)] if organ else np.zeros((count, 3))
        places = _placements(member, scales.tolist(), rows[:, blocks.turn(organ)], centres)
        drawn.append(
            Drawn(codes=codes, scales=scales, placements=places, seed=derived_seed(seed, "together", member.name))
        )
    return tuple(drawn)


def _placements(member: Member, scales: Sequence[float], turns: Rows, centres: Rows) -> tuple[Placement, ...]:
    """Return placements in the patient's frame; turns [n, 3] are in the organ's own frame, centres [n, 3] are not."""
    from scipy.spatial.transform import Rotation

    rotations = Rotation.from_rotvec(turns).as_matrix()
    origin = np.zeros(3)
    placed = []
    for scale, rotation, centre in zip(scales, rotations, centres, strict=True):
        turned = member.to_patient(Placement(scale, origin, rotation))
        placed.append(Placement(scale, centre, turned.rotation))
    return tuple(placed)


def _covariance(generator: Generator, seed: int) -> Rows:
    """Return the covariance [d, d] of a generator's draws (shrunk, Ledoit and Wolf 2004)."""
    factor = prior_of(generator, 1, seed=derived_seed(seed, "together")).factor.double().numpy()
    return np.asarray(factor @ factor.T)


def _moved(rows: Rows, leading: Rows, wanted: Rows, covariance: Rows) -> Rows:
    """Give rows [n, d] the wanted values [n, l] in some columns, and move the others along."""
    pull = np.linalg.solve(covariance[np.ix_(leading, leading)], covariance[leading])
    moved = rows + (wanted - rows[:, leading]) @ pull
    moved[:, leading] = wanted
    return np.asarray(moved)
