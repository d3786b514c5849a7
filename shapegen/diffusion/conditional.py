"""A denoiser together with the conditions that it attends to: trained as one network, sampled with their guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from shapegen.errors import ConfigError, PluginRaisedError
from shapegen.protocols import Condition, FitsInputs, FromShapes, ThinsInputs
from shapegen.store import derived_seed

if TYPE_CHECKING:
    from shapegen.config import Slot
    from shapegen.data.population import Shape
    from shapegen.run import Run


class Attending(nn.Module):
    """`(x[b, tokens, width], t[b], cond) -> [b, tokens, width]`, cond one of

    - condition tokens [b, c, width], as `tokens` gives them;
    - int64 [b]: numbers of rows whose inputs `learn_from` took. In training mode each condition of each row is hidden
      with probability `dropout`, for classifier-free guidance (Ho and Salimans 2022), and the rest thinned by the
      condition itself if it can;
    - None: nothing is asked for.

    A hidden condition's tokens are one learned token, as many times as the condition has tokens.

    Args:
        network: the denoiser.
        conditions: by name; what learns is an `nn.Module` and is trained with the denoiser.
        width: of the tokens.
        dropout: probability of hiding.
    """

    counts: Tensor

    def __init__(self, network: nn.Module, conditions: Mapping[str, Condition], *, width: int, dropout: float) -> None:
        super().__init__()
        self.network = network
        self.dropout = dropout
        self.names = tuple(conditions)
        self.fixed = {name: each for name, each in conditions.items() if not isinstance(each, nn.Module)}
        self.learned = nn.ModuleDict({name: each for name, each in conditions.items() if isinstance(each, nn.Module)})
        self.hidden = nn.ParameterDict({name: nn.Parameter(torch.randn(1, 1, width)) for name in conditions})
        self.register_buffer("counts", torch.ones(len(conditions), dtype=torch.int64))
        self.inputs: dict[str, list[Any]] = {}

    def condition(self, name: str) -> Condition:
        """Return a condition."""
        found: Any = self.fixed[name] if name in self.fixed else self.learned[name]
        return found

    def learn_from(self, shapes: Sequence[Shape]) -> None:
        """Take the raw inputs of these shapes, rows 0, 1, ..., and let conditions measure what they need of them.

        Raises:
            ConfigError: a condition cannot tell them.
            PluginRaisedError: its own code raised.
        """
        for number, name in enumerate(self.names):
            condition = self.condition(name)
            if not isinstance(condition, FromShapes):
                raise ConfigError(
                    f"condition '{name}' has no `from_shapes`, so that nothing can be trained with it; "
                    "see docs/plugins/condition.md"
                )
            try:
                self.inputs[name] = list(condition.from_shapes(shapes))
                train = [raw for raw, shape in zip(self.inputs[name], shapes, strict=True) if shape.split == "train"]
                if isinstance(condition, FitsInputs):
                    condition.fit(train)
                self.counts[number] = condition(self.inputs[name][:1]).shape[1]
            except ConfigError:
                raise
            except Exception as error:
                raise PluginRaisedError(f"condition '{name}'", "reading the training shapes", error) from error

    def tokens(self, given: Mapping[str, Sequence[Any]], count: int) -> Tensor:
        """Return tokens [count, c, width] of raw inputs by name, `count` of each; conditions not named are hidden."""
        return torch.cat([self._tokens(name, given.get(name), count) for name in self.names], dim=1)

    def _tokens(self, name: str, raw: Sequence[Any] | None, count: int) -> Tensor:
        hidden = self.hidden[name]
        hidden = hidden.expand(count, int(self.counts[self.names.index(name)]), -1)
        return hidden if raw is None else self.condition(name)(raw).to(hidden)

    def _rows(self, rows: Tensor) -> Tensor:
        found = []
        for name in self.names:
            raw = [self.inputs[name][row] for row in rows.tolist()]
            condition = self.condition(name)
            if self.training and isinstance(condition, ThinsInputs):
                generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
                raw = [condition.thinned(each, generator) for each in raw]
            shown = self._tokens(name, raw, len(raw))
            if self.training:
                keep = (torch.rand(len(raw)) >= self.dropout).to(shown.device)
                shown = torch.where(keep[:, None, None], shown, self._tokens(name, None, len(raw)))
            found.append(shown)
        return torch.cat(found, dim=1)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is None:
            cond = self.tokens({}, len(x))
        elif not cond.is_floating_point():
            cond = self._rows(cond)
        found: Tensor = self.network(x, t, cond.to(x))
        return found


class Guided(nn.Module):
    """Classifier-free guidance: F(x, nothing) + w (F(x, cond) - F(x, nothing)) (Ho and Salimans 2022, equation 6, with
    their w plus one); estimates and velocities are linear in F, so that it is theirs too.

    Args:
        network: trained.
        weight: w.
    """

    def __init__(self, network: Attending, weight: float) -> None:
        super().__init__()
        self.network = network
        self.weight = weight

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        if cond is None:
            found: Tensor = self.network(x, t, None)
            return found
        nothing = self.network.tokens({}, len(x)).to(cond)
        both = self.network(torch.cat([x, x]), torch.cat([t, t]), torch.cat([cond, nothing]))
        given, free = both.chunk(2)
        return free + self.weight * (given - free)


def build_attending(run: Run, *, tokens: int, width: int) -> nn.Module:
    """Build the run's denoiser, which attends to the run's conditions if it has any.

    Raises:
        ConfigError: a denoiser that takes no condition, or two conditions of one name.
    """
    slots = run.config.conditions
    if not slots:
        network: nn.Module = run.build("denoiser", run.config.denoiser, tokens=tokens, width=width)
        return network
    network = run.build("denoiser", _attends(run, run.config.denoiser), tokens=tokens, width=width)
    names = [slot.name.rpartition(":")[2] for slot in slots]
    if len(set(names)) < len(names):
        raise ConfigError(f"conditions: two are called '{max(names, key=names.count)}'; leave one of them out")
    conditions = {}
    for name, slot in zip(names, slots, strict=True):
        torch.manual_seed(derived_seed(run.seed, "condition", name))
        conditions[name] = run.build("condition", slot, width=width)
    return Attending(network, conditions, width=width, dropout=run.config.diffusion.condition_dropout)


def _attends(run: Run, slot: Slot) -> Slot:
    """Return the slot with `cross_attention` on, if its plugin has such an option."""
    options = run.catalog.find("denoiser", slot.name).plugin.config.model_fields
    if "cross_attention" not in options:
        return slot
    return slot.model_copy(update={"options": {**slot.options, "cross_attention": True}})
