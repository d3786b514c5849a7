"""What an INR plugin may offer beside its forward pass. Public as `shapegen.protocols`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from shapegen.geometry.surface import Surface


@runtime_checkable
class ExactInr(Protocol):
    """An INR (an `nn.Module`) whose weights follow from a surface directly. It is never fitted by gradient descent."""

    def weights_of(self, surface: Surface) -> Tensor:
        """Return the weights [parameters], on the CPU, of a closed, oriented surface in the canonical cube."""
        ...


@runtime_checkable
class ManyInr(Protocol):
    """An INR (an `nn.Module`) that evaluates many of its kind at once faster than `torch.func.vmap` does."""

    def forward_each(self, parameters: Mapping[str, Tensor], points: Tensor) -> Tensor:
        """Evaluate n INRs, each at its own points: [n, m, 3] in [-0.5, 0.5] -> [n, m], as n times `forward`.

        `parameters` maps the names of `named_parameters()` to tensors [n, ...]; the module's own values are not used.
        """
        ...


@runtime_checkable
class StandaloneInr(Protocol):
    """An INR (an `nn.Module`) that can say how it is evaluated without shapegen; `shapegen export --weights` asks."""

    def standalone(self) -> str:
        """Return Python source that defines `field(weights, xyz)` with nothing but torch, which is imported as `torch`.

        `weights` maps the parameters' names, as `named_parameters()` gives them, to tensors; for points `xyz` [..., 3]
        in [-0.5, 0.5] it returns [...], what `forward` returns. Options are numbers in the text.
        """
        ...
