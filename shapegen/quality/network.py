"""A small point-cloud network that tells damaged shapes from good ones: surface elements to one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shapegen.quality.measures import CLOUD, Measured

WIDTH = 48
SHOWN = 128
"""Elements of a cloud that are looked at in one step of training, another draw each time."""
BATCH = 32
STEPS = 150
RATE = 5e-3
_SCALES = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1])
"""Of places, normals and curvatures, so that all are about 1."""


class ElementNetwork(nn.Module):
    """Elements [b, n, 8] (place, normal, two curvatures) to [b], the higher the worse.

    Shared layers, then the maximum and the mean over the elements (PointNet, Qi et al. 2017): the order of the elements
    does not matter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.local = nn.Sequential(nn.Linear(8, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU())
        self.shape = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1))

    def forward(self, elements: Tensor) -> Tensor:
        # Curvatures of broken surfaces have no bound; what is beyond 3 is as bad.
        local = self.local((elements * _SCALES).clamp(-3, 3))
        pooled = torch.cat([local.amax(dim=1), local.mean(dim=1)], dim=-1)
        found: Tensor = self.shape(pooled)[:, 0]
        return found


def train_network(
    shapes: Sequence[Measured], good: NDArray[np.bool_], weights: NDArray[np.float64], *, seed: int
) -> ElementNetwork:
    """Train on measured shapes with the weighted log loss; a few seconds to a minute of one core."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        network = ElementNetwork()
    clouds, bad = _clouds(shapes), torch.as_tensor(~good).float()
    weight = torch.as_tensor(weights).float()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=STEPS, pct_start=0.1)
    for _ in range(STEPS):
        rows = torch.randint(len(clouds), (BATCH,), generator=generator)
        shown = torch.randperm(CLOUD, generator=generator)[:SHOWN]
        found = network(clouds[rows][:, shown])
        loss = nn.functional.binary_cross_entropy_with_logits(found, bad[rows], weight=weight[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def badness(network: ElementNetwork, shapes: Sequence[Measured]) -> NDArray[np.float64]:
    """Return [n], the logit of being damaged."""
    with torch.inference_mode():
        return np.concatenate([network(part).double().numpy() for part in _clouds(shapes).split(64)])


def network_of(state: Mapping[str, Tensor]) -> ElementNetwork:
    """Restore a network; KeyError or RuntimeError where the state is that of another."""
    network = ElementNetwork()
    network.load_state_dict(dict(state))
    return network.eval()


def _clouds(shapes: Sequence[Measured]) -> Tensor:
    return torch.from_numpy(np.stack([each.cloud for each in shapes]).astype(np.float32))
