"""The model card that lies beside exported INRs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TABLE = """\
# {organ}: {count} shapes as implicit neural representations

Each file holds one shape as the weights of a small neural network, a function of a point in space.

| | |
|---|---|
| Made by | shapegen {version}, `shapegen export --weights`; generator `{generator}`, seed {seed} |
| Network | `{inr}` with {options}; {parameters} parameters, float32 |
| Gives | {gives} |
| Points | mm, {frame}: {axes} |
| Cube | the network knows a cube with side `scale_mm` about `centre_mm`, {centre} mm here; both are in each file |
| Licence | {licence} |
| Not for | **Diagnosis, treatment, or claims about populations.** No generated shape is a person's organ |

Tensors have the names of the network's `state_dict`; what else is needed (`kind`, `truncation`, `scale_mm`,
`centre_mm`, `frame`, options, licence) is in the file's metadata. The network takes u = (p - centre_mm) / scale_mm,
with RAS axes, in [-0.5, 0.5].
{real}
"""
_REAL = """
Files without `sample-` in their names are INRs that were fitted to **real** shapes of the run's data, aligned as the
samples are: they are data of patients, and what holds for that data holds for them.
"""
_STANDALONE = """
## Use

`load_inr.py` needs torch and safetensors, and no shapegen:

```python
from load_inr import load_inr

distance = load_inr("{first}.safetensors")
print(distance([{point}]))
```

A mesh of it, with scikit-image, on a grid of `step` mm:

```python
import json

import torch
from load_inr import load_inr
from safetensors import safe_open
from skimage.measure import marching_cubes

with safe_open("{first}.safetensors", "pt") as file:
    about = file.metadata()
half, centre, step = float(about["scale_mm"]) / 2, torch.tensor(json.loads(about["centre_mm"])), 4.0
axis = torch.arange(-half, half, step)
points = torch.cartesian_prod(axis, axis, axis) + centre
values = load_inr("{first}.safetensors")(points).reshape(len(axis), len(axis), len(axis))
vertices, faces, _, _ = marching_cubes(values.numpy(), 0.0)
vertices = vertices * step - half + centre.numpy()  # mm
```
"""
_WITH_SHAPEGEN = """
## Use

The plugin `{inr}` has no standalone form, so **the files are read by shapegen** with that plugin installed:

```python
from shapegen.export.inrs import open_inr

distance, about = open_inr("{first}.safetensors")
print(distance([{point}]))
```
"""
_GIVES = {
    "sdf": "signed distance in mm, negative inside, cut at a tenth of `scale_mm` (the network itself: ten times the "
    "distance in the cube, cut at 1)",
    "occupancy": "the negated logit of occupancy, negative inside: the surface is at 0, but it is **no distance** (the "
    "network itself: the logit, positive inside)",
}


def model_card(
    about: Mapping[str, str],
    facts: Mapping[str, Any],
    *,
    axes: str,
    version: str,
    parameters: int,
    count: int,
    real: bool,
    standalone: bool,
) -> str:
    """Return the card as Markdown.

    Args:
        about: metadata of the first file.
        facts: of the source: generator, seed.
        axes: the frame in words.
        parameters: of one network.
        count: files.
        real: some are real shapes.
        standalone: `load_inr.py` lies beside them.
    """
    options = json.loads(about["options"])
    centre = json.loads(about["centre_mm"])
    text = _TABLE.format(
        organ=about["organ"],
        count=count,
        version=version,
        generator=facts.get("generator", "not known"),
        seed=facts.get("seed", "not known"),
        inr=about["inr"],
        options=", ".join(f"{name} {value}" for name, value in sorted(options.items())) or "its defaults",
        parameters=f"{parameters:,}",
        gives=_GIVES[about["kind"]],
        frame=about["frame"],
        axes=axes,
        centre=" ".join(f"{number:g}" for number in centre),
        licence=about["licence"],
        real=_REAL if real else "",
    )
    use = _STANDALONE if standalone else _WITH_SHAPEGEN
    point = "[" + ", ".join(f"{number:.1f}" for number in centre) + "]"
    return text.rstrip() + "\n" + use.format(first=about["id"], inr=about["inr"], point=point)
