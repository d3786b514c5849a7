"""One shape's INR as a safetensors file of named tensors, and back as a function of millimetres."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.errors import ConfigError, CorruptFileError, PluginRaisedError
from shapegen.store import write_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    from shapegen.export.place import Place
    from shapegen.registry import Catalog

FORMAT = "shapegen-inr 1"


def build_inr(catalog: Catalog, slot: Any) -> nn.Module:
    """Build an INR from its slot, `name` or `{"name", option: value}`; its parameters' values mean nothing.

    Raises:
        PluginNotFoundError, PluginCollisionError, ConfigError: the installed plugins do not offer it.
        PluginRaisedError: the plugin's own code raised.
    """
    from shapegen.config import Slot
    from shapegen.settings import validate_options

    named = Slot.model_validate(slot)
    entry = catalog.find("inr", named.name)
    options = validate_options(entry, named.options)
    try:
        inr: nn.Module = entry.plugin.build(options)
    except Exception as error:
        raise PluginRaisedError(str(entry), "building it", error) from error
    return inr.requires_grad_(False)


def metadata(
    inr: nn.Module, slot: Any, *, name: str, scale_mm: float, place: Place, licence: str, organ: str
) -> dict[str, str]:
    """Return what a file says of its INR: everything that its numbers need to become millimetres."""
    from shapegen.config import Slot
    from shapegen.inr.field import TRUNCATION, output_kind

    named = Slot.model_validate(slot)
    return {
        "format": FORMAT,
        "id": name,
        "organ": organ,
        "inr": named.name,
        "options": json.dumps(named.options, sort_keys=True),
        "kind": output_kind(inr),
        "truncation": repr(TRUNCATION),
        "scale_mm": repr(scale_mm),
        "centre_mm": json.dumps(list(place.own_centre)),
        "frame": place.frame.upper(),
        "unit": "mm",
        "licence": licence,
    }


def write_inr(path: Path, inr: nn.Module, weights: Tensor, about: Mapping[str, str]) -> None:
    """Write one INR: its tensors by the names of its `state_dict`, and what `metadata` returns.

    Args:
        inr: the architecture.
        weights: [parameters], in the order of `shapegen.inr.layout`.

    Raises:
        CorruptFileError: these are not the weights of that architecture.
    """
    from shapegen.inr.layout import parameter_layout

    layout = parameter_layout(inr)
    if tuple(weights.shape) != (layout.size,):
        raise CorruptFileError(
            f"{path.stem}: expected the {layout.size} weights of '{about['inr']}', found {list(weights.shape)}; "
            "the installed plugin is another version than the run's"
        )
    write_tensors(path, {name: value.clone() for name, value in layout.unflatten(weights).items()}, about)


def open_inr(path: str | Path) -> tuple[Callable[[Any], Tensor], dict[str, str]]:
    """Read an exported INR with the plugin that made it: the same as the `load_inr` that lies beside the file.

    Returns:
        A function of points [n, 3] in mm (axes: `frame`) to signed distances [n] in mm, negative inside; of an
        occupancy to the negated logit, which is no distance. And the file's metadata.

    Raises:
        CorruptFileError: it is no exported INR.
        PluginNotFoundError, ConfigError: its plugin is not installed.
    """
    import torch
    from safetensors import SafetensorError, safe_open
    from torch.func import functional_call

    from shapegen.discovery import discover
    from shapegen.export.loader import in_mm

    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(f"{path}: not readable as safetensors ({error}); export it again") from error
    if about.get("format") != FORMAT:
        raise CorruptFileError(f"{path}: expected format '{FORMAT}', found '{about.get('format')}'; export it again")
    inr = build_inr(discover(), {"name": about["inr"], "options": json.loads(about["options"])})

    def field(xyz: Tensor) -> Tensor:
        with torch.inference_mode():
            return functional_call(inr, tensors, (xyz,))

    return in_mm(field, about), about


def need_slot(slot: Any, folder: Path) -> Any:
    """Return the slot of a source's INR.

    Raises:
        ConfigError: the folder does not say which INR it holds.
    """
    if slot is None:
        raise ConfigError(f"{folder} does not say which INR its weights are of: give the run folder, or draw again")
    return slot
