"""The configuration of a run: one typed record. Where its values come from is in `shapegen.settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_serializer, model_validator

from shapegen.plugin import Config

SLOTS: Mapping[str, str] = {
    "organ": "organ",
    "inr": "inr",
    "weight_space": "weight-space",
    "generator": "generator",
    "denoiser": "denoiser",
    "conditions": "condition",
    "metrics": "metric",
    "trackers": "tracker",
}
"""Field of `RunConfig` that holds one plugin, or a list of them, and the kind of plugin."""

LIST_SLOTS = frozenset({"conditions", "metrics", "trackers"})


class Slot(Config):
    """A plugin and its options, written as `name`, `{name: ..., option: value}` or `{name: ..., options: {...}}`."""

    name: str = Field(description="The plugin, as `shapegen list-plugins` shows it, or `distribution:name`.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of that plugin.")

    @model_validator(mode="before")
    @classmethod
    def _accept_short_forms(cls, value: Any) -> Any:
        return split_slot(value) if isinstance(value, str | Mapping) else value

    @model_serializer
    def _write_short(self) -> Any:
        if not self.options:
            return self.name
        if {"name", "options"} & self.options.keys():
            return {"name": self.name, "options": self.options}
        return {"name": self.name, **self.options}


def split_slot(value: str | Mapping[str, Any]) -> dict[str, Any]:
    """Bring a slot as users write it into the form `{"name": ..., "options": {...}}`; the name may be missing.

    Raises:
        ValueError: an option is given twice, or `options` is not a mapping.
    """
    if isinstance(value, str):
        return {"name": value}
    rest = {str(key): each for key, each in value.items() if key not in ("name", "options")}
    nested = value.get("options")
    if nested is None:
        nested = {}
    if not isinstance(nested, Mapping):
        raise ValueError(f"'options' of a plugin is a mapping of option to value, got {nested!r}")
    twice = sorted(rest.keys() & nested.keys())
    if twice:
        raise ValueError(f"option '{twice[0]}' is given twice, beside 'options' and in it")
    name = {"name": value["name"]} if "name" in value else {}
    return {**name, "options": {**rest, **nested}}


class SplitConfig(Config):
    """How the population is divided, always by patient group."""

    validation: float = Field(default=0.15, ge=0, lt=1, description="Share of the patient groups for early stopping.")
    test: float = Field(default=0.15, ge=0, lt=1, description="Share of the patient groups for reported numbers.")
    folds: int | None = Field(default=None, ge=2, description="Number of folds; null: one split by the shares above.")
    fold: int = Field(default=0, ge=0, description="Which fold is the test split, from 0.")
    file: str | None = Field(
        default=None, description="JSON file {group: split} that gives the split; null: by hash of the group."
    )

    @model_validator(mode="after")
    def _possible(self) -> SplitConfig:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test leave nothing to train on: {self.validation} + {self.test} >= 1")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold counts from 0 and is below folds ({self.folds}), got {self.fold}")
        return self


class CurateConfig(Config):
    """Sorting shapes into usable ones and others, before anything is learned from them."""

    use: bool = Field(default=True, description="Sort them; false: every file that can be read goes on.")
    keep: tuple[Literal["ok", "cut", "require_edit", "nope", "not_sure"], ...] = Field(
        default=("ok",), min_length=1, description="Classes that go on, judged after repair."
    )
    weight_space: tuple[Literal["cut", "require_edit", "nope", "not_sure"], ...] = Field(
        default=("cut", "require_edit", "not_sure"),
        description="Classes that do not go on, but from whose form the weight space learns.",
    )
    thresholds: dict[str, float] = Field(
        default={}, description="Check and the measure above which it objects, in place of its default."
    )
    sure: float = Field(
        default=0.3, ge=0, le=1, description="Probability of `ok` below which a shape without objections is `not_sure`."
    )
    population: bool = Field(
        default=True, description="Compare with the organ's embedded population where there are fewer than 30 shapes."
    )


class PrepareConfig(Config):
    """From files to aligned shapes with training samples."""

    limit: int | None = Field(
        default=None, ge=4, description="Use at most so many files, evenly spread over their names; null: all."
    )
    samples: int = Field(default=60000, ge=1000, description="Points with signed distance for each shape.")
    sigma: float = Field(
        default=0.02,
        gt=0,
        le=0.5,
        allow_inf_nan=False,
        description="Spread of points about the surface, canonical units.",
    )
    align: bool = Field(default=True, description="Align every shape rigidly to the population's mean.")
    workers: int = Field(default=0, ge=0, description="Processes that read files; 0: as many as there are cores.")


class FitConfig(Config):
    """Fitting INRs and the weight space."""

    refine_steps: int = Field(default=1200, ge=0, description="Steps that refine each shape's INR from the space's.")
    refine_points: int = Field(default=640, ge=1, description="Samples for each shape and step.")
    refine_learning_rate: float = Field(default=4e-3, gt=0, allow_inf_nan=False, description="Peak learning rate.")
    refine_band: float = Field(
        default=0.015,
        ge=0,
        allow_inf_nan=False,
        description="Distance from the surface, canonical units, within which most samples are drawn; 0: all alike.",
    )
    reconstruct_train: int = Field(default=20, ge=0, description="Training shapes to reconstruct for the tables.")


class DiffusionConfig(Config):
    """The noise process, the training of the denoiser, and the sampler."""

    process: Literal["edm", "flow"] = Field(default="edm", description="EDM diffusion or flow matching.")
    steps: int = Field(default=1500, ge=1, description="Training steps at most.")
    batch: int = Field(default=64, ge=1, description="Codes in each training step.")
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False, description="Peak learning rate.")
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False, description="AdamW's weight decay.")
    ema: float = Field(default=0.999, ge=0, lt=1, description="Decay of the averaged weights that are kept.")
    jitter: float = Field(
        default=0.3, ge=0, allow_inf_nan=False, description="Noise added to the training codes, an augmentation."
    )
    standardise: Literal["entry", "global", "none"] = Field(
        default="entry", description="Scale codes entry by entry, all by one factor, or not."
    )
    calibrate: bool = Field(default=False, description="Widen samples to the spread that held-out codes show.")
    patience: int = Field(default=12, ge=1, description="Evaluations without improvement before training stops.")
    evaluate_every: int = Field(default=25, ge=1, description="Training steps between held-out evaluations.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Of the network's products in training; auto: bfloat16 on GPUs that have it."
    )
    compile: bool = Field(default=False, description="Compile the network for training (torch.compile).")
    shard: bool = Field(
        default=False, description="Divide the network and what trains it over the processes of --launch (FSDP)."
    )
    condition_dropout: float = Field(
        default=0.2, ge=0, lt=1, description="Share of training codes whose condition is hidden, for each condition."
    )
    guidance: float = Field(
        default=1.5,
        ge=0,
        allow_inf_nan=False,
        description="Weight of conditions in sampling: 0 without them, 1 as trained, above 1 sharper and less varied.",
    )
    sampler: Literal["ddim", "heun", "dpmpp-2m", "euler", "flow-heun"] = Field(
        default="heun", description="ODE solver; euler and flow-heun go along the time of flow matching."
    )
    sampler_steps: int = Field(default=32, ge=1, description="Steps of the sampler.")
    sigma_min: float = Field(default=0.002, gt=0, allow_inf_nan=False, description="Lowest noise level of the sampler.")
    sigma_max: float = Field(default=80.0, gt=0, allow_inf_nan=False, description="Highest noise level of the sampler.")

    @model_validator(mode="after")
    def _possible(self) -> DiffusionConfig:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min is below sigma_max, got {self.sigma_min} and {self.sigma_max}")
        if self.process != "flow" and self.sampler in ("euler", "flow-heun"):
            raise ValueError(
                f"sampler '{self.sampler}' needs process 'flow'; '{self.process}' takes ddim, heun or dpmpp-2m"
            )
        return self


class DetailConfig(Config):
    """Surface detail of samples, which codes smooth away: measured with `train`, added by `sample`."""

    use: bool = Field(default=True, description="Add it (INRs that give signed distances and are fitted); else none.")
    steps: int = Field(default=500, ge=1, description="Steps that refit a sample's INR to its displaced surface.")
    points: int = Field(default=768, ge=1, description="Points in each step.")
    learning_rate: float = Field(default=4e-3, gt=0, allow_inf_nan=False, description="Peak learning rate.")
    calibrate: int = Field(
        default=6, ge=0, description="Validation shapes whose curvature sets the detail's strength; 0: as measured."
    )


class PartsConfig(Config):
    """The parts of an organ, such as the segments of a liver, learned and generated with its shape."""

    use: bool = Field(default=False, description="Learn them from label maps that have them, and divide samples.")
    axes: int = Field(default=32, ge=1, description="Principal axes of the parts' fields.")
    spacing_mm: float = Field(
        default=4.0, ge=0.3, le=20, description="Spacing of the samples' label maps and of the grid of part meshes, mm."
    )


class SampleConfig(Config):
    """Drawing new shapes."""

    count: int = Field(default=100, ge=1, description="Shapes to draw.")
    resolution: int = Field(default=128, ge=8, le=1024, description="Cells of the meshing grid along each axis.")
    format: Literal["ply", "stl", "glb", "obj", "vtk", "vtp"] = Field(
        default="ply", description="File format of the meshes, in mm."
    )


class EvaluateConfig(Config):
    """How metrics are computed."""

    points: int = Field(default=2048, ge=16, description="Surface points for each shape in set metrics.")
    resolution: int = Field(default=128, ge=8, le=1024, description="Lattice for volumetric measures, along each axis.")
    bootstrap: int = Field(default=1000, ge=0, description="Resamples behind each 95 % interval.")
    null_draws: int = Field(default=200, ge=0, description="Draws of real training shapes behind the null row.")
    compared: int = Field(
        default=1000, ge=2, description="Shapes of a set that are compared pair by pair at most, evenly spread."
    )


class RunConfig(Config):
    """Everything that decides a run's result."""

    preset: Literal["micro", "smoke", "few", "cpu", "paper"] = Field(
        default="cpu", description="The defaults to start from."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of every random number of the run.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="Where tensors are computed.")
    threads: int = Field(default=0, ge=0, description="Threads of torch; 0: as torch decides.")
    cache: str | None = Field(default=None, description="Folder of results that runs share; null: in the run folder.")
    start: str | None = Field(
        default=None,
        description="SHA-256 of the pretrained generator to start from (`shapegen finetune`); null: from nothing.",
    )
    organ: Slot = Slot(name="liver")
    data: tuple[str, ...] = Field(default=(), description="PATH[:PRESET]; none: the organ's embedded population.")
    split: SplitConfig = SplitConfig()
    curate: CurateConfig = CurateConfig()
    prepare: PrepareConfig = PrepareConfig()
    inr: Slot = Slot(name="siren")
    weight_space: Slot = Slot(name="subspace")
    fit: FitConfig = FitConfig()
    generator: Slot = Slot(name="diffusion")
    denoiser: Slot = Slot(name="transformer")
    conditions: tuple[Slot, ...] = ()
    diffusion: DiffusionConfig = DiffusionConfig()
    detail: DetailConfig = DetailConfig()
    parts: PartsConfig = PartsConfig()
    sample: SampleConfig = SampleConfig()
    metrics: tuple[Slot, ...] = tuple(
        Slot(name=name)
        for name in (
            "volume-iou",
            "chamfer-l1",
            "normal-consistency",
            "f-score",
            "mean-surface-distance",
            "volume-error",
            "mmd",
            "coverage",
            "one-nna",
            "fpd",
            "kpd",
            "nearest-training",
            "data-copying",
            "anatomy",
        )
    )
    evaluate: EvaluateConfig = EvaluateConfig()
    trackers: tuple[Slot, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _one_source_is_a_list(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and isinstance(value.get("data"), str):
            return {**value, "data": (value["data"],)}
        return value

    @field_validator(*sorted(LIST_SLOTS))
    @classmethod
    def _named_once(cls, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        twice = [slot.name for index, slot in enumerate(slots) if slot in slots[:index]]
        if twice:
            raise ValueError(f"'{twice[0]}' is named twice with the same options")
        return slots

    def slots(self, field: str) -> tuple[Slot, ...]:
        """Return the slots of one field of `SLOTS`, as a tuple also where there is only one."""
        value = getattr(self, field)
        return value if isinstance(value, tuple) else (value,)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `RunConfig.model_validate` reads back; slots in their short form."""
        return self.model_dump(mode="json")
