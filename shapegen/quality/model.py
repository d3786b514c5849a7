"""A learned score of an organ's shapes, as one safetensors file: data only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shapegen.errors import CorruptFileError
from shapegen.quality.measures import NAMES, VERSION, Measured
from shapegen.quality.pose import Template
from shapegen.quality.reference import Judge, Reference
from shapegen.quality.weigh import Weigher
from shapegen.store import part, read_tensors, write_tensors

if TYPE_CHECKING:
    from shapegen.quality.network import ElementNetwork

FORMAT = "shapegen-quality-1"
KNOWN = f"{VERSION} {' '.join(NAMES)}"
"""The measures that a file must be of."""


@dataclass(frozen=True, slots=True, eq=False)
class QualityModel:
    """Tells how likely an expert would accept a shape.

    Args:
        template: of the population: its mean shape.
        judge: compares with its good shapes.
        network: looks at surface elements.
        weigher: of all evidence.
        slope, shift: of the calibrated probability sigmoid(slope * logit + shift).
        card: where it is from, plain JSON.
    """

    template: Template
    judge: Judge
    network: ElementNetwork
    weigher: Weigher
    slope: float
    shift: float
    card: Mapping[str, Any]

    def evidence(self, shapes: Sequence[Measured]) -> NDArray[np.float64]:
        """Return [n, k + s]: the judge's evidence, and the network's."""
        return all_evidence(self.judge, self.network, shapes)

    def logits(self, evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return calibrated logits [n] of being accepted; what ranks shapes whose probabilities are all near 0."""
        return self.slope * self.weigher.logit(evidence) + self.shift

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        import torch

        arrays = {
            "template.field": self.template.field.astype(np.float16),
            "calibration.values": np.array([self.slope, self.shift]),
            **{f"reference.{name}": value for name, value in self.judge.reference.arrays().items()},
            **{f"weigher.{name}": value for name, value in self.weigher.arrays().items()},
        }
        tensors = {name: torch.as_tensor(value) for name, value in arrays.items()}
        tensors |= {f"network.{name}": value for name, value in self.network.state_dict().items()}
        said = {"format": FORMAT, "measures": KNOWN, "card": json.dumps(self.card, sort_keys=True)}
        write_tensors(path, tensors, said)


def all_evidence(judge: Judge, network: ElementNetwork, shapes: Sequence[Measured]) -> NDArray[np.float64]:
    """Return [n, k + s]: `Judge.evidence`, and the network's badness as the last column."""
    from shapegen.quality.network import badness

    return np.concatenate([judge.evidence(shapes), badness(network, shapes)[:, None]], axis=1)


def load_model(path: Path) -> QualityModel:
    """Read what `QualityModel.save` wrote.

    Raises:
        CorruptFileError: it is something else, or of other measures.
    """
    from safetensors import safe_open

    from shapegen.quality.network import network_of

    tensors = read_tensors(path)
    with safe_open(path, "numpy") as file:
        said: Mapping[str, str] = file.metadata() or {}
    if said.get("format") != FORMAT or said.get("measures") != KNOWN:
        raise CorruptFileError(f"{path}: not a score of this version; make it again")
    try:
        groups = {
            name: {key: value.numpy() for key, value in part(tensors, name).items()}
            for name in ("template", "reference", "weigher", "calibration")
        }
        slope, shift = (float(value) for value in groups["calibration"]["values"])
        return QualityModel(
            Template(groups["template"]["field"].astype(np.float32)),
            Judge.of(Reference.from_arrays(groups["reference"])),
            network_of(part(tensors, "network")),
            Weigher.from_arrays(groups["weigher"]),
            slope,
            shift,
            json.loads(said.get("card", "{}")),
        )
    except (KeyError, RuntimeError, ValueError) as error:
        raise CorruptFileError(f"{path}: not a whole score ({error!r}); make it again") from error
