"""Diffusion as a generator of latents: a denoiser, the training of it, and a sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from shapegen.config import DiffusionConfig
from shapegen.data.population import Population
from shapegen.diffusion.conditional import Attending, Guided, build_attending
from shapegen.diffusion.process import Process, build_process
from shapegen.diffusion.sampling import Watch, sample
from shapegen.diffusion.settings import training_settings
from shapegen.diffusion.training import train
from shapegen.errors import ConfigError
from shapegen.protocols import Condition, Log
from shapegen.store import derived_seed, part

if TYPE_CHECKING:
    from shapegen.run import Run

NETWORK = "network"


class Diffusion:
    """The generator `diffusion`: the run's denoiser, trained and sampled as the section `diffusion` says.

    Attributes:
        network: the trained denoiser, after `fit` or `load_state`.
        mask: bool [tokens, width] of the latents.
    """

    network: nn.Module
    mask: Tensor
    started: Mapping[str, Tensor] | None = None
    fits_in_team: Literal[True] = True

    def attach(self, run: Run) -> None:
        self.run = run

    @property
    def options(self) -> DiffusionConfig:
        return self.run.config.diffusion

    @property
    def process(self) -> Process:
        return build_process(self.options.process)

    @property
    def steps(self) -> int:
        return training_settings(self.options).steps

    def fit(
        self,
        x_train: Tensor,
        x_validation: Tensor,
        mask: Tensor,
        *,
        seed: int,
        checkpoint: Path,
        log: Log,
        device: str = "cpu",
        progress: Callable[[int], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Train the denoiser, with the run's conditions if it has any; see `shapegen.diffusion.training.train`.

        Raises:
            ConfigError: the denoiser's output has not the shape of its input, or takes no condition and there is one.
            TrainingDivergedError: a loss is not finite.
        """
        self.mask = mask.cpu()
        self.network = build_network(self.run, tokens=mask.shape[0], width=mask.shape[1])
        require_shape(self.network, self.mask)
        if self.started is not None:
            _write(self.network, self.started)
        if isinstance(self.network, Attending):
            self._show(self.network, len(x_train), len(x_validation))
        result = train(
            self.network,
            self.process,
            x_train,
            x_validation,
            mask,
            numbered=isinstance(self.network, Attending),
            settings=training_settings(self.options),
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            log=log,
            progress=progress,
            note=note,
        )
        return {
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "steps": result.steps,
            "best_step": result.best_step,
            "best_loss": result.best_loss,
            "stopped_early": result.stopped_early,
            "curve": [dict(row) for row in result.curve],
        }

    def _show(self, network: Attending, train: int, validation: int) -> None:
        """Let the conditions see the shapes whose latents the rows are."""
        population = Population.load(self.run.require("prepare", needed_by="train"))
        shapes = [*population.of("train"), *population.of("validation")]
        if len(shapes) != train + validation:
            raise ConfigError(
                f"conditions need the shapes of all rows: {train + validation} rows, {len(shapes)} training and "
                "validation shapes"
            )
        network.learn_from(shapes)

    @property
    def conditions(self) -> Mapping[str, Condition]:
        """What it was trained with, by name."""
        network = self.network
        return {name: network.condition(name) for name in network.names} if isinstance(network, Attending) else {}

    def sample_given(
        self,
        given: Mapping[str, Any],
        count: int,
        *,
        seed: int,
        device: str = "cpu",
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Draw with classifier-free guidance by one raw input for each condition that is named."""
        network = self.network
        if not isinstance(network, Attending):
            raise ConfigError(
                "this generator was trained without conditions; train one with `conditions: [attributes]`"
            )
        with torch.no_grad():
            tokens = network.eval().cpu().tokens({name: [raw] for name, raw in given.items()}, 1)
        guided = Guided(network, self.options.guidance)
        return self._sample(
            guided, count, seed=seed, device=device, progress=progress, cond=tokens.expand(count, -1, -1)
        )

    def sample(
        self, count: int, *, seed: int, device: str = "cpu", progress: Callable[[int], None] | None = None
    ) -> Tensor:
        """Integrate from noise to latents; see `shapegen.diffusion.sampling.sample`."""
        return self._sample(self.network, count, seed=seed, device=device, progress=progress)

    def path(
        self, count: int, *, seed: int, device: str = "cpu", progress: Callable[[int], None] | None = None
    ) -> list[tuple[float, Tensor]]:
        """Return what `sample` goes through, from noise to the same samples.

        Returns:
            (level, latents [count, tokens, width]) of decreasing level, sigma or the time of flow matching, noise and
            all as they are there; the last are the samples, at 0.
        """
        seen: dict[float, dict[int, Tensor]] = {}
        drawn = 0

        def watch(level: float, x: Tensor) -> None:
            if level > 0:
                seen.setdefault(level, {})[drawn] = x.float().cpu()

        def moved_on(size: int) -> None:
            nonlocal drawn
            drawn += size
            if progress:
                progress(size)

        samples = self._sample(self.network, count, seed=seed, device=device, progress=moved_on, watch=watch)
        levels = ((level, torch.cat([*batches.values()])) for level, batches in sorted(seen.items(), reverse=True))
        return [*levels, (0.0, samples)]

    def _sample(
        self,
        network: nn.Module,
        count: int,
        *,
        seed: int,
        device: str,
        progress: Callable[[int], None] | None,
        cond: Tensor | None = None,
        watch: Watch | None = None,
    ) -> Tensor:
        return sample(
            network,
            self.process,
            self.mask,
            count=count,
            seed=seed,
            sampler=self.options.sampler,
            steps=self.options.sampler_steps,
            sigma_min=self.options.sigma_min,
            sigma_max=self.options.sigma_max,
            device=device,
            cond=cond,
            progress=progress,
            watch=watch,
        )

    def state(self) -> dict[str, Tensor]:
        return {"mask": self.mask, **{f"{NETWORK}.{name}": value for name, value in self.network.state_dict().items()}}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mask = state["mask"]
        self.network = build_network(self.run, tokens=self.mask.shape[0], width=self.mask.shape[1])
        _write(self.network, state)
        self.network.eval()

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Let `fit` begin with a trained denoiser."""
        trial = build_network(self.run, tokens=state["mask"].shape[0], width=state["mask"].shape[1])
        try:
            _write(trial, state)
        except RuntimeError as error:
            raise ConfigError(
                f"denoiser '{self.run.config.denoiser.name}' is not built as the pretrained one and cannot start "
                "from it; leave `denoiser` as it is"
            ) from error
        self.started = state


def _write(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what `Diffusion.state` holds of the network; RuntimeError where it does not fit."""
    network.load_state_dict(part(state, NETWORK))


@torch.no_grad()
def require_shape(network: nn.Module, mask: Tensor) -> None:
    """Raise `ConfigError` unless the network returns the shape that it was given: one that only broadcasts to it, such
    as [b, tokens, 1], would train without a word."""
    x = torch.zeros(2, *mask.shape)
    with torch.random.fork_rng():
        found = tuple(network(x, torch.zeros(2), None).shape)
    if found != tuple(x.shape):
        raise ConfigError(
            f"the denoiser returns {list(found)} for an input [b, tokens, width] = {list(x.shape)}; it must return the "
            "same shape: see `shapegen check`"
        )


def build_network(run: Run, *, tokens: int, width: int) -> nn.Module:
    """Build the run's denoiser for latents [tokens, width], initialised by the run's seed."""
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(run.seed, "denoiser"))
        return build_attending(run, tokens=tokens, width=width)
