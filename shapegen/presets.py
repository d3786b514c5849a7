"""Named starting points: what each preset changes in the defaults of `RunConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # some seconds of work on one core, from 8 shapes of the embedded population: small enough to be killed 200 times
    "micro": {
        "prepare": {"limit": 8, "samples": 1000, "workers": 1},
        "inr": {"name": "siren", "width": 16, "depth": 2},
        "weight_space": {"name": "subspace", "size": 4, "steps": 40, "points": 64, "blends": 8, "encode_steps": 10},
        "fit": {"refine_steps": 5, "refine_points": 64, "refine_learning_rate": 3e-4, "reconstruct_train": 1},
        "denoiser": {"name": "transformer", "width": 32, "depth": 1, "heads": 2},
        "diffusion": {"steps": 40, "batch": 16, "evaluate_every": 20, "sampler_steps": 4},
        "detail": {"use": False},
        "sample": {"count": 3, "resolution": 24},
        "metrics": ["volume-iou", "mmd"],
        "evaluate": {"points": 64, "resolution": 24, "bootstrap": 20, "null_draws": 5},
    },
    # half a minute on 2 cores, from 40 shapes of the embedded population to the report: that all works, not quality
    "smoke": {
        "prepare": {"limit": 40, "samples": 6000},
        "weight_space": {"name": "subspace", "size": 16, "steps": 200, "blends": 100, "encode_steps": 40},
        "fit": {"refine_steps": 20, "refine_points": 512, "refine_learning_rate": 3e-4, "reconstruct_train": 2},
        "diffusion": {"steps": 120, "batch": 32, "evaluate_every": 40, "sampler_steps": 12},
        "detail": {"steps": 20, "points": 256, "learning_rate": 1e-3, "calibrate": 0},
        "sample": {"count": 8, "resolution": 48},
        "metrics": ["volume-iou", {"name": "chamfer-l1", "points": 5000}, "mmd", "coverage"],
        "evaluate": {"points": 512, "resolution": 48, "bootstrap": 100, "null_draws": 20},
    },
    # about 50 shapes: half the steps hold unseen shapes as well, and a larger share is judged by (docs/organs.md)
    "few": {"weight_space": {"name": "subspace", "steps": 1600}, "split": {"test": 0.2}},
    # the defaults themselves: minutes on 2 cores
    "cpu": {},
    # the sizes of the original method; needs a GPU
    "paper": {
        "inr": "fourier-mlp",
        "weight_space": {"name": "full", "tokens": "layer"},
        "denoiser": {
            "name": "transformer",
            "width": 2880,
            "depth": 12,
            "heads": 16,
            "time": "token",
            "per_token": True,
            "gradient_checkpointing": True,
        },
        "fit": {"refine_steps": 1000, "refine_points": 2048, "refine_band": 0.0},
        "diffusion": {"steps": 200000, "learning_rate": 2e-4, "patience": 50, "evaluate_every": 1000},
        "sample": {"resolution": 256},
        "evaluate": {"resolution": 256},
    },
}
"""Preset and its overrides; a slot is written as in a config file."""
