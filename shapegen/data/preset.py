"""What a user, or a dataset's table, says of files: presets, fixes and sources."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shapegen.plugin import Config


class Preset(Config):
    """How the files of a known dataset are read.

    The default reads the only label there is.
    """

    summary: str = Field(default="", description="What the dataset is.")
    labels: tuple[int, ...] | None = Field(
        default=None, description="Labels whose union is the organ; null: the only one."
    )
    sides: dict[Literal["left", "right"], tuple[int, ...]] = Field(
        default_factory=dict, description="Of an organ that is there twice: the labels of each side, where they differ."
    )
    reverse: tuple[int, ...] = Field(
        default=(), description="Array axes whose sign in the header is known to be wrong."
    )
    layout: Literal["flat", "totalsegmentator"] = Field(
        default="flat", description="flat: files in one folder; totalsegmentator: sNNNN/segmentations/<file>."
    )
    file: str | None = Field(default=None, description="The organ's file in the totalsegmentator layout.")


class Fix(Config):
    """What is known to be wrong with one file."""

    labels: tuple[int, ...] | None = Field(default=None, description="Labels that make the organ in this file.")
    reverse: tuple[int, ...] | None = Field(default=None, description="Array axes to reverse.")
    spacing: tuple[float, float, float] | None = Field(
        default=None, description="True spacing along the array axes, mm."
    )
    frame: Literal["ras", "lps"] | None = Field(default=None, description="Axes of a mesh.")
    scale: float | None = Field(default=None, gt=0, description="mm for one unit of a mesh.")
    exclude: str | None = Field(default=None, description="Why the file is left out.")


class Source(Config):
    """One entry of a sources file."""

    path: str = Field(description="A file or folder, relative to the sources file.")
    preset: str | None = Field(default=None, description="One of the organ's presets.")
    name: str | None = Field(default=None, description="First part of the items' ids; default: the folder's name.")
    labels: tuple[int, ...] | None = Field(
        default=None, description="Labels that make the organ, instead of the preset's."
    )
    reverse: tuple[int, ...] | None = Field(default=None, description="Array axes to reverse, instead of the preset's.")
    frame: Literal["ras", "lps"] | None = Field(
        default=None, description="Axes of the meshes; null: as they say, else RAS."
    )
    scale: float = Field(default=1.0, gt=0, description="mm for one unit of the meshes.")
    fixes: dict[str, Fix] = Field(default_factory=dict, description="What is wrong with single files, by name or stem.")
    groups: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Stems of the scans of one patient, by the patient's name."
    )


class SourcesFile(Config):
    """A YAML or JSON file that lists sources."""

    sources: tuple[Source, ...] = Field(min_length=1)
