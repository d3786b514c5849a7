"""The INR architecture and the weight space of a run, built from its config or restored from its `fit` stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shapegen.store import derived_seed, read_tensors

if TYPE_CHECKING:
    from torch import nn

    from shapegen.protocols import WeightSpace
    from shapegen.run import Run


def build_model(run: Run) -> tuple[nn.Module, WeightSpace]:
    """Build the run's INR, initialised by the run's seed, and its weight space, not yet fitted."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(run.seed, "inr"))
        inr = run.build("inr", run.config.inr).to(run.device)
        return inr, run.build("weight-space", run.config.weight_space, inr=inr)


def load_model(run: Run, *, needed_by: str) -> tuple[nn.Module, WeightSpace]:
    """Build the run's INR and weight space and restore the fitted state.

    Raises:
        StageMissingError: `fit` is not finished.
    """
    inr, space = build_model(run)
    space.load_state(read_tensors(run.require("fit", needed_by=needed_by) / "space.safetensors"))
    return inr, space
