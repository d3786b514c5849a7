"""A learned linear space of INR weights: w = w0 + s * (B z), trained together with the codes z of all shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from shapegen.checkpoint import Checkpoint
from shapegen.data.population import Shape
from shapegen.errors import ConfigError, TrainingDivergedError
from shapegen.inr.field import evaluate, field_loss
from shapegen.inr.fitting import warmup_cosine
from shapegen.inr.layout import layer_scale, parameter_layout
from shapegen.inr.samples import FieldSamples, load_samples
from shapegen.protocols import Log
from shapegen.store import derived_seed
from shapegen_plugins.flat_codes import from_tokens, to_tokens, token_mask

if TYPE_CHECKING:
    from shapegen_plugins.weight_spaces import SubspaceConfig


_SETTLING_POINTS = 4096


class Subspace:
    """Weights on a learned K-dimensional plane; every point of it is a full INR.

    After `fit`, a training code is roughly N(0, I), and its first entries change the shape most.

    Args:
        config: see `SubspaceConfig`.
        inr: the architecture; its initial values are the start of w0.
    """

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
        """Learn w0, B and the codes of the training shapes together.

        After `start_from` it goes on with that plane, and the codes keep its coordinates.

        Each step draws `batch` shapes and `points` samples of each; loss = mean field loss + penalty * |z|^2 / K.
        Codes of a step are those of its shapes only.

        Raises:
            TrainingDivergedError: the loss is not finite.
        """
        config = self.config
        samples = load_samples(shapes).to(device)
        mean = self.mean.to(device).clone().requires_grad_(True)
        if self.started:
            basis = self.basis.clone()
            codes = from_tokens(self.encode(shapes, seed=seed, device=device), self.size)
        else:
            size = min(config.size, max(1, len(shapes) - 1))
            generator = torch.Generator().manual_seed(derived_seed(seed, "subspace"))
            basis = torch.randn(size, self.layout.size, generator=generator).mul_(config.start / math.sqrt(size))
            codes = torch.randn(len(shapes), size, generator=generator)
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
            chosen = torch.randperm(len(shapes), generator=generator)[: config.batch].to(device)
            points, distances = samples.draw(config.points, generator, chosen)
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * warmup_cosine(step, config.steps)
            z = codes[chosen]
            losses = field_loss(
                self.inr, evaluate(self.inr, mean + scale * (z @ basis), points, layout=self.layout), distances
            )
            loss = losses.mean() + config.penalty * z.square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if step % 50 == 0 or step == config.steps - 1:
                if not torch.isfinite(losses).all():
                    raise TrainingDivergedError(
                        f"the weight space's loss is not finite at step {step}; lower weight_space.learning_rate"
                    )
                log(step, {"loss": losses.mean().item(), "code_norm": z.norm(dim=1).mean().item()})
            state.keep(step + 1)
        if self.started:
            self.mean, self.basis = mean.detach().cpu(), basis.detach().cpu()
            return
        self._settle(mean.detach().cpu(), basis.detach().cpu(), codes.detach().cpu(), samples.to("cpu"))

    def _settle(self, mean: Tensor, basis: Tensor, codes: Tensor, samples: FieldSamples) -> None:
        """Rotate and scale the plane's axes.

        Then the training codes have zero mean and unit covariance, and the axes are ordered by how far one standard
        deviation along them moves the field near the surfaces.
        """
        centre = codes.mean(dim=0)
        left, singular, axes = torch.linalg.svd(codes - centre, full_matrices=False)
        root = math.sqrt(max(1, len(codes) - 1))
        self.mean = mean + self.scale * (centre @ basis)
        self.basis = singular[:, None] / root * (axes @ basis)
        # Any rotation keeps the codes white; this one diagonalises the linear part of code -> field. Its least-squares
        # fit is one product, since the columns of `left` are orthonormal and have no mean.
        points = samples.points[:, : math.ceil(_SETTLING_POINTS / len(codes))].reshape(-1, 3)
        linear = left.double().T @ self._field(left * root, points).double()
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
        batches = []
        for first in range(0, len(shapes), 16):
            batches.append(self._encode_batch(load_samples(shapes[first : first + 16]).to(device), seed))
            advance(len(batches[-1]))
        return to_tokens(torch.cat(batches), self.width)

    def _encode_batch(self, samples: FieldSamples, seed: int) -> Tensor:
        config, device = self.config, samples.points.device
        mean, basis, scale = self.mean.to(device), self.basis.to(device), self.scale.to(device)
        codes = torch.zeros(len(samples), self.size, device=device, requires_grad=True)
        optimiser = torch.optim.Adam([codes], lr=config.encode_learning_rate, betas=(0.9, 0.99))
        for step in range(config.encode_steps):
            generator = torch.Generator().manual_seed(derived_seed(seed, "encode", step))
            points, distances = samples.draw(config.points, generator)
            optimiser.param_groups[0]["lr"] = config.encode_learning_rate * warmup_cosine(step, config.encode_steps)
            output = evaluate(self.inr, mean + scale * (codes @ basis), points, layout=self.layout)
            # The penalty is the log of the prior N(0, I): a code that the data do not determine stays at the mean.
            loss = field_loss(self.inr, output, distances).sum() + config.penalty * codes.square().mean(dim=1).sum()
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
