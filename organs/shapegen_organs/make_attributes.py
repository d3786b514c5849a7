"""Measure what draws of an organ's frozen generator look like, so that `shapegen sample --condition` need not.

    python -m shapegen_organs.make_attributes liver

Writes `attributes.safetensors` beside the generator, which stays as it is. Seven minutes on one core for the liver.
"""

from __future__ import annotations

import sys

import numpy as np

from shapegen.conditioning.population import FILE, table_of_draws
from shapegen.discovery import discover
from shapegen.pretrained import pretrained_organ
from shapegen.store import write_arrays


def main(organ: str) -> None:
    """Measure the draws of one organ's generator."""
    catalog = discover()
    pretrained = pretrained_organ(catalog, organ)
    run = pretrained.run(catalog)
    table = table_of_draws(run, pretrained.generator(run))
    which = np.frombuffer(bytes.fromhex(pretrained.sha256), dtype=np.uint8)
    write_arrays(pretrained.folder / FILE, {**table.arrays(), "generator": which})


if __name__ == "__main__":
    main(sys.argv[1])
