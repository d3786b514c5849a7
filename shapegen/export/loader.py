"""`load_inr.py`: what reads an exported INR with torch and safetensors alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shapegen.protocols import StandaloneInr

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "load_inr.py"

HEAD = '''\
"""Reads an INR that lies beside this file. Needs torch and safetensors; shapegen is not needed."""

import json

import torch
from safetensors import safe_open


'''
TAIL = '''

def load_inr(path):
    """Return a function: points [n, 3] in mm to {what}."""
    with safe_open(path, "pt") as file:
        about = file.metadata()
        weights = {{name: file.get_tensor(name) for name in file.keys()}}
    centre, scale = torch.tensor(json.loads(about["centre_mm"])), float(about["scale_mm"])
    axes = torch.tensor([-1.0, -1.0, 1.0] if about["frame"] == "LPS" else [1.0, 1.0, 1.0])
    unit = -1.0 if about["kind"] == "occupancy" else float(about["truncation"]) * scale

    def distance(points):
        cube = (torch.as_tensor(points, dtype=torch.float32) - centre) * axes / scale
        near = cube.clamp(-0.5, 0.5)  # the network knows this cube alone; outside of it, the way there is added
        return unit * field(weights, near) + scale * (cube - near).norm(dim=-1)

    return distance
'''
_WHAT = {
    "sdf": "signed distances [n] in mm, negative inside, cut at scale_mm / 10",
    "occupancy": "negated logits of occupancy [n], negative inside; no distances",
}


def loader_source(inr: nn.Module) -> str | None:
    """Return the text of `load_inr.py` for an architecture; None where it does not say how it is evaluated."""
    from shapegen.inr.field import output_kind

    if not isinstance(inr, StandaloneInr):
        return None
    return HEAD + inr.standalone().strip() + "\n" + TAIL.format(what=_WHAT[output_kind(inr)])


def in_mm(field: Callable[[Tensor], Tensor], about: Mapping[str, str]) -> Callable[[Any], Tensor]:
    """Return a raw field over the canonical cube as a function of mm, by the same steps as `load_inr.py`.

    Args:
        field: [n, 3] in the cube to raw outputs [n].
        about: the metadata of the file.
    """
    import torch

    centre, scale = torch.tensor(json.loads(about["centre_mm"])), float(about["scale_mm"])
    axes = torch.tensor([-1.0, -1.0, 1.0] if about["frame"] == "LPS" else [1.0, 1.0, 1.0])
    unit = -1.0 if about["kind"] == "occupancy" else float(about["truncation"]) * scale

    def distance(points: Any) -> Tensor:
        cube = (torch.as_tensor(points, dtype=torch.float32) - centre) * axes / scale
        near = cube.clamp(-0.5, 0.5)
        return unit * field(near) + scale * (cube - near).norm(dim=-1)

    return distance
