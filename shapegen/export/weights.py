"""The folder of exported INRs: one file a shape, what reads them, and a model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.errors import CorruptFileError
from shapegen.export.place import Place
from shapegen.export.shapes import Shape, Source
from shapegen.store import read_tensors, write_bytes

if TYPE_CHECKING:
    from torch import Tensor, nn

FOLDER = "weights"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightsFolder:
    """A writer of `weights/`.

    Args:
        out: the export's folder.
        inr: the architecture.
        slot: its plugin and options.
        place: where shapes lie.
        licence, organ: as the files say them.
        read: matrices of weights that are already in memory, by file.
    """

    out: Path
    inr: nn.Module
    slot: Any
    place: Place
    licence: str
    organ: str
    read: dict[Path, Tensor] = field(default_factory=dict)

    @classmethod
    def start(
        cls, folder: Path, out: Path, source: Source, shapes: Sequence[Shape], place: Place, licence: str
    ) -> WeightsFolder:
        """Write the card and the loader for these shapes.

        Args:
            folder: where they come from, for messages.
            shapes: at least one.

        Raises:
            ConfigError, PluginNotFoundError, PluginCollisionError: their INR is not known or not installed.
        """
        from shapegen import __version__
        from shapegen.discovery import discover
        from shapegen.export.card import model_card
        from shapegen.export.inrs import build_inr, need_slot
        from shapegen.export.loader import FILE, loader_source
        from shapegen.export.place import AXES
        from shapegen.inr.layout import parameter_layout

        slot = need_slot(source.inr, folder)
        inr = build_inr(source.run.catalog if source.run else discover(), slot)
        organ = str(source.facts.get("organ", "organ"))
        writer = cls(out=out, inr=inr, slot=slot, place=place, licence=licence, organ=organ)
        writer.weights_of(shapes[0])  # a run without them is found before anything is written
        loader = loader_source(inr)
        card = model_card(
            writer.about(shapes[0]),
            source.facts,
            axes=AXES[place.frame],
            version=__version__,
            parameters=parameter_layout(inr).size,
            count=len(shapes),
            real=any(shape.real for shape in shapes),
            standalone=loader is not None,
        )
        write_bytes(out / FOLDER / "README.md", card.encode())
        if loader is not None:
            write_bytes(out / FOLDER / FILE, loader.encode())
        return writer

    def about(self, shape: Shape) -> dict[str, str]:
        """Return the metadata of a shape's file."""
        from shapegen.export.inrs import metadata

        return metadata(
            self.inr,
            self.slot,
            name=shape.id,
            scale_mm=shape.scale_mm,
            place=self.place,
            licence=self.licence,
            organ=self.organ,
        )

    def weights_of(self, shape: Shape) -> Tensor:
        """Return a shape's weights [parameters].

        Raises:
            CorruptFileError: they are not there.
        """
        if shape.weights not in self.read:
            try:
                self.read[shape.weights] = read_tensors(shape.weights)["weights"]
            except (KeyError, FileNotFoundError) as error:
                raise CorruptFileError(f"{shape.weights}: expected the weights of INRs ({error!r})") from error
        return self.read[shape.weights][shape.row]

    def add(self, shape: Shape) -> str:
        """Write one shape's INR and return its file, relative to the export's folder."""
        from shapegen.export.inrs import write_inr

        file = f"{FOLDER}/{shape.id}.safetensors"
        write_inr(self.out / file, self.inr, self.weights_of(shape), self.about(shape))
        return file
