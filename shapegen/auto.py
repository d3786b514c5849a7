"""Choosing a generator: the simplest one that is not worse than the best on the validation shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from shapegen.errors import ConfigError
from shapegen.generator import build_generator
from shapegen.model import load_model
from shapegen.protocols import FitsInTeam, LatentGenerator, Log
from shapegen.sample_scores import energy_scores, nearest_ratio, one_nna
from shapegen.shape_probe import ShapeProbe, probe_points
from shapegen.store import derived_seed, part
from shapegen.team import sharing, team
from shapegen.training_latents import training_latents

if TYPE_CHECKING:
    from shapegen.generators import AutoConfig
    from shapegen.run import Run

CRITERION = (
    "mean energy score of the validation shapes' fields under those of the draws (lower is better); chosen: the first "
    "candidate whose paired difference to the best is at most `margin` standard errors"
)


class Auto:
    """Fits every candidate on the training latents and becomes one of them.

    Each candidate is fitted and drawn from `seeds` times (candidates without randomness come out the same each time,
    their draws do not). The draws are decoded, and the energy score of every validation shape is taken among them
    (`shapegen.sample_scores`), in the space of fields that `shapegen.shape_probe` describes: in the space of codes a
    kernel density of 66 livers scored best whose draws fell to pieces. Beside the best, the others have paired
    differences d over the validation shapes v and seeds s; their standard error takes both in,

        SE^2 = var_v(mean_s d) / m + var_s(mean_v d) / S   (the second term for S > 1).

    The first candidate in the list with mean d <= margin * SE is chosen, as by the one-standard-error rule (Breiman et
    al. 1984, section 3.4.3), by default with two: one that is not shown to be worse at about the 5 % level. With one
    validation row nothing can be told apart and the first is chosen. Test shapes are seen by nothing here. The chosen
    generator is the one fitted with the run's own seed, so it is the same as if it had been named.

    Args:
        config: see `AutoConfig`.
    """

    fits_in_team: Literal[True] = True

    def __init__(self, config: AutoConfig) -> None:
        self.config = config
        self.choice = 0
        self.chosen: LatentGenerator | None = None

    def attach(self, run: Run) -> None:
        self.run = run
        for slot in self.config.candidates:  # one that is missing costs no training
            run.catalog.find("generator", slot.name)

    @property
    def names(self) -> list[str]:
        return [slot.name for slot in self.config.candidates]

    @property
    def steps(self) -> int:
        return self.config.seeds * sum(self._build(number).steps for number in range(len(self.names)))

    def _build(self, number: int) -> LatentGenerator:
        return build_generator(self.run, self.config.candidates[number])

    def fit(
        self,
        x_train: Tensor,
        x_validation: Tensor,
        mask: Tensor,
        *,
        seed: int,
        checkpoint: Path,
        log: Log,
        device: str = "cpu",
        progress: Callable[[int], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Fit all candidates, score them and keep one; `log` hears the chosen one's losses, if it has any.

        Raises:
            ConfigError: there are no validation rows to choose by.
        """
        if not len(x_validation):
            raise ConfigError(
                "generator 'auto' chooses by the validation shapes and there are none; set split.validation above 0, "
                "or name a generator"
            )
        probe, train, held_out = shape_rows(self.run, seed=seed)
        fitted, rows, scores = [], [], []
        for number, name in enumerate(self.names):
            drawn = []
            for repeat in range(self.config.seeds):
                generator = self._build(number)
                facts: Mapping[str, Any] = {}
                with sharing(isinstance(generator, FitsInTeam)) as mine:
                    if mine:
                        facts = generator.fit(
                            x_train,
                            x_validation,
                            mask,
                            seed=derived_seed(seed, "auto", repeat) if repeat else seed,
                            checkpoint=checkpoint / f"{number}-{repeat}",
                            log=lambda step, values: None,
                            device=device,
                            progress=progress,
                            note=note,
                        )
                if not team().leads:  # who else helps with fits, and scores nothing
                    continue
                x = generator.sample(self.config.draws, seed=derived_seed(seed, "auto-draw", repeat), device=device)
                drawn.append(probe.latents(x))
                if not repeat:
                    fitted.append((generator, facts))
            if not team().leads:
                continue
            scores.append(torch.stack([energy_scores(x, held_out) for x in drawn]))
            rows.append(
                {
                    "generator": name,
                    "energy_score": float(scores[-1].mean()),
                    "one_nna": _mean([one_nna(x, held_out) for x in drawn]),
                    "nearest_training_ratio": _mean([nearest_ratio(x, train, held_out) for x in drawn]),
                    "fit": {key: value for key, value in fitted[-1][1].items() if key != "curve"},
                }
            )
        if not team().leads:
            return {}
        table = torch.stack(scores)
        self.choice, behind = choose(table, margin=self.config.margin)
        self.chosen, facts = fitted[self.choice]
        for row in facts.get("curve", ()):
            log(int(row["step"]), {key: value for key, value in row.items() if key != "step"})
        best = self.names[int(table.mean(dim=(1, 2)).argmin())]
        if note:
            note(f"'auto' chose generator '{self.names[self.choice]}'; the best score on validation has '{best}'")
        return {
            **facts,
            "chosen": self.names[self.choice],
            "best": best,
            "criterion": CRITERION,
            "margin": self.config.margin,
            "seeds": self.config.seeds,
            "draws": self.config.draws,
            "candidates": [{**row, **found} for row, found in zip(rows, behind, strict=True)],
        }

    def sample(
        self, count: int, *, seed: int, device: str = "cpu", progress: Callable[[int], None] | None = None
    ) -> Tensor:
        """Draw from the chosen generator."""
        return self._chosen().sample(count, seed=seed, device=device, progress=progress)

    def state(self) -> dict[str, Tensor]:
        state = {f"chosen.{name}": value for name, value in self._chosen().state().items()}
        return {"choice": torch.tensor(self.choice), **state}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.choice = int(state["choice"])
        self.chosen = self._build(self.choice)
        self.chosen.load_state(part(state, "chosen"))

    def _chosen(self) -> LatentGenerator:
        if self.chosen is None:
            raise RuntimeError("generator 'auto' has chosen nothing yet: call fit or load_state first")
        return self.chosen


def shape_rows(run: Run, *, seed: int) -> tuple[ShapeProbe, Tensor, Tensor]:
    """Return what looks at latents of this run, and the rows of its real training and validation shapes."""
    inr, space = load_model(run, needed_by="train")
    latents = training_latents(run, space)
    train, validation = (latents.population.of(split) for split in ("train", "validation"))
    probe = ShapeProbe(
        inr=inr,
        space=space,
        layout=latents.layout,
        scaler=latents.scaler,
        points=probe_points(derived_seed(seed, "auto-points")),
        mean_scale=math.exp(sum(math.log(shape.placement.scale) for shape in train) / len(train)),
        device=run.device,
    )
    return probe, probe.real(train), probe.real(validation)


def choose(scores: Tensor, *, margin: float) -> tuple[int, list[dict[str, float | None]]]:
    """Apply the rule of `Auto` to scores [candidates, seeds, rows], the simplest candidate first.

    Returns:
        The number of the chosen candidate, and for each how far it lies `behind` the best and its `standard_error`
        (None where one row gives none).
    """
    best = int(scores.mean(dim=(1, 2)).argmin())
    difference = scores - scores[best]
    behind = difference.mean(dim=(1, 2))
    _, seeds, rows = scores.shape
    squared = difference.mean(dim=1).var(dim=1) / rows if rows > 1 else torch.full_like(behind, torch.nan)
    if seeds > 1:
        squared = squared + difference.mean(dim=2).var(dim=1) / seeds
    errors = squared.sqrt()
    within = (behind <= margin * errors) | errors.isnan()
    within[best] = True
    table = [
        {"behind": float(far), "standard_error": None if error.isnan() else float(error)}
        for far, error in zip(behind, errors, strict=True)
    ]
    return int(within.int().argmax()), table


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
