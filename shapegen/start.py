"""Where a run starts from: nothing, or the generator that comes with its organ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shapegen.errors import ConfigError
from shapegen.pretrained import Pretrained, pretrained_organ
from shapegen.protocols import StartsFrom

if TYPE_CHECKING:
    from shapegen.protocols import LatentGenerator
    from shapegen.run import Run


def starting_point(run: Run) -> Pretrained | None:
    """Return the pretrained generator that the run's configuration says to start from, if any.

    Raises:
        ConfigError: the organ's generator is another one now, or there is none.
    """
    if run.config.start is None:
        return None
    pretrained = pretrained_organ(run.catalog, run.config.organ.name)
    if pretrained.sha256 != run.config.start:
        raise ConfigError(
            f"the run starts from the pretrained generator {run.config.start[:12]}, installed is "
            f"{pretrained.sha256[:12]}; install the version that it was made with, or start anew with another --out"
        )
    return pretrained


def begin(run: Run, latents: LatentGenerator, start: Pretrained) -> None:
    """Let a generator of latents start from the pretrained one, or say that it starts from nothing where it cannot."""
    name = run.config.generator.name
    if isinstance(latents, StartsFrom) and name == _name(start.facts["config"]["generator"]):
        latents.start_from(start.part("generator"))
    else:
        run.note(
            f"generator '{name}' learns from these shapes alone, in the coordinates of the pretrained "
            f"'{start.facts['generator']}'"
        )


def _name(slot: Any) -> str:
    """Return the plugin's name of a slot as `RunConfig.to_json` writes it."""
    return str(slot["name"] if isinstance(slot, Mapping) else slot)
