"""A learned linear space of INR weights: w = w0 + s * (B z), trained together with the codes z of all shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from shapegen.checkpoint import Checkpoint
from shapegen.data.population import Shape
from shapegen.errors import ConfigError, TrainingDivergedError
from shapegen.inr.field import evaluate, field_loss
from shapegen.inr.fitting import warmup_cosine
from shapegen.inr.layout import layer_scale, parameter_layout
from shapegen.inr.samples import FieldSamples, StoredSamples, load_samples, training_samples
from shapegen.protocols import Log
from shapegen.store import derived_seed
from shapegen.team import team
from shapegen.torch_threads import in_order
from shapegen_plugins.blends import PARENTS, Blends, lattices_of, make_blends, principal_codes
from shapegen_plugins.flat_codes import from_tokens, to_tokens, token_mask

if TYPE_CHECKING:
    from shapegen_plugins.weight_spaces import SubspaceConfig


_SETTLING_POINTS = 2048
_SETTLING_ROWS = 1024
"""Fields that are held at once."""
_ENCODED = 8
"""Shapes whose codes are fitted in one batch: with 16 or 4 a code takes 3 and 12 % longer."""


class Subspace:
    """Weights on a learned K-dimensional plane; every point of it is a full INR.

    After `fit`, a training code is roughly N(0, I), and its first entries change the shape most.

    Args:
        config: see `SubspaceConfig`.
        inr: the architecture; its initial values are the start of w0.
    """

    fits_in_team: Literal[True] = True

    def __init__(self, config: SubspaceConfig, inr: nn.Module) -> None:
        self.config = config
        self.inr = inr
        self.layout = parameter_layout(inr)
        self.scale = layer_scale(inr)
        self.mean = self.layout.flatten({name: value.detach().clone() for name, value in inr.named_parameters()})
        self.basis = torch.zeros(config.size, self.layout.size)
        self.started = False

    @property
    def size(self) -> int:
        """K after fitting: at most the number of training shapes less one."""
        return len(self.basis)

    @property
    def steps(self) -> int:
        return self.config.steps

    @property
    def width(self) -> int:
        return self.config.token_width

    @property
    def tokens(self) -> int:
        return len(self.mask)

    @property
    def mask(self) -> Tensor:
        return token_mask(self.size, self.width)

    def fit(self, shapes: Sequence[Shape], *, seed: int, device: str, checkpoint: Path, log: Log) -> None:
        """Learn w0, B and the codes of the training shapes and of their blends together.

        Codes start at the principal coordinates of the shapes' fields. Each step draws `batch` shapes, `blend_share` of
        them blends, and `points` samples of each; loss = mean field loss + penalty * |z|^2 / K. Codes of a step are
        those of its shapes only.

        After `start_from` it goes on with that plane, without blends, and the codes keep its coordinates.

        The processes of a team do a part of each step's shapes; the gradient is their sum.

        Raises:
            TrainingDivergedError: the loss is not finite.
        """
        config, us = self.config, team()
        samples = training_samples(shapes, device=device)
        mean = self.mean.to(device).clone().requires_grad_(True)
        blends = None
        if self.started:
            basis = self.basis.clone()
            codes = from_tokens(self.encode(shapes, seed=seed, device=device), self.size)
        else:
            blends, basis, codes = self._begin(shapes, seed, device)
        basis = basis.to(device).requires_grad_(True)
        codes = codes.to(device).requires_grad_(True)
        scale = self.scale.to(device)
        optimiser = torch.optim.Adam(
            [{"params": [mean]}, {"params": [basis]}, {"params": [codes]}], lr=0.0, betas=(0.9, 0.99), fused=True
        )
        rates = (config.learning_rate, config.learning_rate, config.code_learning_rate)
        state = Checkpoint(checkpoint, {"mean": mean, "basis": basis, "codes": codes}, optimiser)
        for step in range(state.resume(), config.steps):
            generator = torch.Generator().manual_seed(derived_seed(seed, "subspace", step))
            chosen, points, distances = self._batch(samples, blends, generator)
            mine = us.rows(len(chosen))
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * warmup_cosine(step, config.steps)
            z = codes[chosen]
            own = field_loss(
                self.inr,
                evaluate(self.inr, mean + scale * (z[mine] @ basis), points[mine], layout=self.layout),
                distances[mine],
            )
            loss = (own.sum() + config.penalty * z[mine].square().mean(dim=1).sum()) / len(chosen)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            losses = torch.zeros(len(chosen), device=device)
            losses[mine] = own.detach()
            _add_up(losses, mean, basis, codes, chosen)
            if not losses.isfinite().all():  # before anything of it is kept
                raise _diverged(step, chosen[~losses.isfinite()].tolist(), shapes)
            optimiser.step()
            if step % 50 == 0 or step == config.steps - 1:
                log(step, {"loss": losses.mean().item(), "code_norm": z.norm(dim=1).mean().item()})
            state.keep(step + 1)
        if self.started:
            self.mean, self.basis = mean.detach().cpu(), basis.detach().cpu()
            return
        if us.leads:
            self._settle(mean.detach().cpu(), basis.detach().cpu(), codes.detach().cpu(), samples)

    def _begin(self, shapes: Sequence[Shape], seed: int, device: str) -> tuple[Blends, Tensor, Tensor]:
        """Return the blends, a random basis [K, parameters] and the codes [n + blends, K] to begin with."""
        size = min(self.config.size, max(1, len(shapes) - 1))
        lattices = lattices_of(shapes[:PARENTS]).to(device)
        blends = make_blends(lattices, self.config.blends, scale=self.config.blend_scale, seed=seed)
        codes, spread = principal_codes(lattices, blends, size, more=shapes[PARENTS:])
        generator = torch.Generator().manual_seed(derived_seed(seed, "subspace"))
        basis = torch.randn(size, self.layout.size, generator=generator).mul_(self.config.start / math.sqrt(size))
        return blends, basis * spread.cpu()[:, None], codes

    def _batch(
        self, samples: FieldSamples | StoredSamples, blends: Blends | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a step's rows of codes [b], points [b, m, 3] and distances [b, m]: shapes, then blends."""
        config, device = self.config, samples.device
        mixed = round(config.batch * config.blend_share) if blends else 0
        chosen = torch.randperm(len(samples), generator=generator)[: max(1, config.batch - mixed)].to(device)
        points, distances = samples.draw(config.points, generator, chosen)
        if blends is None or not mixed:
            return chosen, points, distances
        which = torch.randint(len(blends), (mixed,), generator=generator).to(device)
        more = blends.draw(which, samples, config.points, generator)
        rows = torch.cat([chosen, len(samples) + which])
        return rows, torch.cat([points, more[0]]), torch.cat([distances, more[1]])

    def _settle(self, mean: Tensor, basis: Tensor, codes: Tensor, samples: FieldSamples | StoredSamples) -> None:
        """Rotate and scale the plane's axes.

        Then the codes have zero mean and unit covariance, and the axes are ordered by how far one standard deviation
        along them moves the field near the surfaces.

        Args:
            codes: [n + v, K] of the n shapes of `samples` and of v blends. The mean is the shapes'; to the covariance
                all blends together add as much as K shapes, as a prior where shapes are few for their dimensions.
        """
        shapes = len(samples)
        weight = torch.ones(len(codes))
        weight[shapes:] = min(1.0, codes.shape[1] / max(1, len(codes) - shapes))
        centre = codes[:shapes].mean(dim=0)
        left, singular, axes = torch.linalg.svd(weight.sqrt()[:, None] * (codes - centre), full_matrices=False)
        root = math.sqrt(max(1.0, float(weight.sum()) - 1))
        self.mean = mean + self.scale * (centre @ basis)
        self.basis = singular[:, None] / root * (axes @ basis)
        # Any rotation keeps the codes white; this one diagonalises the linear part of code -> field. Its weighted
        # least-squares fit is one product, since the columns of `left` are orthonormal.
        points = samples.spread(_SETTLING_POINTS).cpu()
        scaled, weight = left * root / weight.sqrt()[:, None], weight.sqrt().double()
        linear = torch.zeros(left.shape[1], len(points), dtype=torch.float64)
        moments = torch.zeros(left.shape[1], 1, dtype=torch.float64)
        total = torch.zeros(len(points), dtype=torch.float64)
        for rows in torch.arange(len(codes)).split(_SETTLING_ROWS):
            field = self._field(scaled[rows], points).double()
            weighted = left[rows].double().T * weight[rows]
            linear += weighted @ field
            moments += weighted.sum(dim=1, keepdim=True)
            total += field[rows < shapes].sum(dim=0)
        linear -= moments * (total / shapes)
        self.basis = torch.linalg.svd(linear, full_matrices=False)[0].T.to(basis) @ self.basis

    def _field(self, flat: Tensor, points: Tensor) -> Tensor:
        """Return the truncated fields [n, m] of flat codes [n, K] at shared points [m, 3]."""
        with torch.no_grad():
            weights = self.decode(to_tokens(flat, self.width))
            parts = [evaluate(self.inr, row[None], points[None], layout=self.layout) for row in weights]
            return torch.cat(parts).clamp(-1, 1)

    def encode(
        self,
        shapes: Sequence[Shape],
        *,
        seed: int,
        device: str,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Tensor:
        """Fit only the codes of these shapes, each from zero (the mean shape), with the space frozen."""
        batches = [shapes[first : first + _ENCODED] for first in range(0, len(shapes), _ENCODED)]

        def encode(inr: nn.Module, number: int) -> Tensor:
            return self._encode_batch(inr, load_samples(batches[number]).to(device), seed)

        done = []
        for codes in in_order(encode, len(batches), own=partial(deepcopy, self.inr), device=device):
            done.append(codes)
            advance(len(codes))
        return to_tokens(torch.cat(done), self.width)

    def _encode_batch(self, inr: nn.Module, samples: FieldSamples, seed: int) -> Tensor:
        config, device = self.config, samples.points.device
        mean, basis, scale = self.mean.to(device), self.basis.to(device), self.scale.to(device)
        codes = torch.zeros(len(samples), self.size, device=device, requires_grad=True)
        optimiser = torch.optim.Adam([codes], lr=config.encode_learning_rate, betas=(0.9, 0.99))
        for step in range(config.encode_steps):
            generator = torch.Generator().manual_seed(derived_seed(seed, "encode", step))
            points, distances = samples.draw(config.encode_points, generator)
            optimiser.param_groups[0]["lr"] = config.encode_learning_rate * warmup_cosine(step, config.encode_steps)
            output = evaluate(inr, mean + scale * (codes @ basis), points, layout=self.layout)
            # The penalty is the log of the prior N(0, I): a code that the data do not determine stays at the mean.
            loss = field_loss(inr, output, distances).sum() + config.penalty * codes.square().mean(dim=1).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        return codes.detach().cpu()

    def decode(self, codes: Tensor) -> Tensor:
        """Return w0 + s * (B z) [n, parameters] for codes [n, tokens, width]."""
        flat = from_tokens(codes, self.size)
        return self.mean.to(flat) + self.scale.to(flat) * (flat @ self.basis.to(flat))

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "basis": self.basis, "scale": self.scale}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.basis, self.scale = state["mean"], state["basis"], state["scale"]

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Let `fit` begin with a fitted plane; K is that plane's."""
        if state["basis"].shape[1:] != self.mean.shape:
            raise ConfigError(
                f"the INR has {len(self.mean)} parameters, the pretrained one {state['basis'].shape[1]}; "
                "leave `inr` as it is"
            )
        self.load_state(state)
        self.started = True


def _add_up(losses: Tensor, mean: Tensor, basis: Tensor, codes: Tensor, chosen: Tensor) -> None:
    """Give every process of the team the losses [b] and the gradients of the whole batch; of the codes those of its
    rows alone are sent, the others are zero."""
    if team().size == 1:
        return
    rows = chosen.unique()
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in (mean, basis, codes)]
    part = gradients[2][rows]
    team().add(losses, *gradients[:2], part)
    gradients[2][rows] = part
    mean.grad, basis.grad, codes.grad = gradients


def _diverged(step: int, rows: Sequence[int], shapes: Sequence[Shape]) -> TrainingDivergedError:
    names = [shapes[row].id if row < len(shapes) else "a blend" for row in rows]
    return TrainingDivergedError(
        f"the weight space's loss is not finite at step {step + 1}, for {', '.join(dict.fromkeys(names))}; the last "
        "good state is kept; lower weight_space.learning_rate, or look at these shapes",
        [row for row in rows if row < len(shapes)],
    )
