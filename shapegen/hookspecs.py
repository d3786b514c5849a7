"""The hooks: one for each kind of plugin, and the run's events. Imports neither torch nor open3d.

A distribution names a module in the entry-point group `shapegen`; the module implements any of these:

    from shapegen import Config, Plugin, hookimpl

    class MixerConfig(Config):
        depth: int = 8

    def build(config: MixerConfig, *, tokens: int, width: int):
        from my_package.model import Mixer      # torch is imported here, not at start-up
        return Mixer(tokens, width, depth=config.depth)

    @hookimpl
    def shapegen_denoisers():
        yield Plugin(name="mixer", summary="MLP-Mixer over weight tokens", build=build, config=MixerConfig)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shapegen.plugin import Plugin, hookspec

if TYPE_CHECKING:
    from shapegen.run import Run

KINDS: Mapping[str, str] = {
    "organ": "shapegen_organs",
    "inr": "shapegen_inrs",
    "weight-space": "shapegen_weight_spaces",
    "generator": "shapegen_generators",
    "denoiser": "shapegen_denoisers",
    "condition": "shapegen_conditions",
    "metric": "shapegen_metrics",
    "tracker": "shapegen_trackers",
}
"""Kind, as users write it, and the hook that yields plugins of it."""


@hookspec
def shapegen_organs() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Organs: where shapes come from. `build(config) -> shapegen.protocols.Organ`."""


@hookspec
def shapegen_inrs() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """INRs. `build(config) -> torch.nn.Module`, `[..., n, 3] -> [..., n]`, usable under `torch.func`."""


@hookspec
def shapegen_weight_spaces() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Spaces of INR weights. `build(config, *, inr: torch.nn.Module) -> shapegen.protocols.WeightSpace`."""


@hookspec
def shapegen_generators() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Generators of latents, codes with their sizes. `build(config) -> shapegen.protocols.LatentGenerator`."""


@hookspec
def shapegen_denoisers() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Denoising networks. `build(config, *, tokens: int, width: int) -> torch.nn.Module`,
    called as `(x[b, tokens, width], t[b], cond[b, c, width] | None) -> [b, tokens, width]`."""


@hookspec
def shapegen_conditions() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Conditions for a denoiser. `build(config, *, width: int) -> shapegen.protocols.Condition`."""


@hookspec
def shapegen_metrics() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Metrics. `build(config) -> shapegen.protocols.Metric`."""


@hookspec
def shapegen_trackers() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Trackers, used where a config names them. `build(config) -> object`, whose methods implement any of the events
    below, marked with `shapegen.hookimpl`. (A plugin module that implements an event itself hears every run.)"""


@hookspec
def shapegen_run_started(run: Run) -> None:
    """Event: a run begins. Implementations take any subset of the arguments."""


@hookspec
def shapegen_stage_finished(run: Run, stage: str, seconds: float) -> None:
    """Event: a stage was computed (not: found already done)."""


@hookspec
def shapegen_step(run: Run, stage: str, step: int, logs: Mapping[str, float]) -> None:
    """Event: a training loop logs its losses."""


@hookspec
def shapegen_run_finished(run: Run, results: Mapping[str, Any]) -> None:
    """Event: the report is written. `results` is the content of `evaluate/metrics.json`."""
