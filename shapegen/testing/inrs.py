"""What every INR must do: a pure function of parameters and points, `[..., n, 3] -> [..., n]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shapegen.testing import inr_extras
from shapegen.testing.check import Subject, require
from shapegen.testing.inr_extras import points_in_cube

if TYPE_CHECKING:
    from torch import Tensor, nn


def any_number_of_points(subject: Subject) -> None:
    """It maps points [..., n, 3] to values [..., n], whatever stands for the dots: meshing and fitting differ in it."""
    inr = subject.build()
    for shape in ((1, 3), (7, 3), (2, 5, 3), (2, 3, 4, 3)):
        values = inr(points_in_cube(*shape))
        require(
            tuple(values.shape) == shape[:-1] and bool(values.isfinite().all()),
            f"{subject} maps points {list(shape)} to {list(values.shape)}; expected finite values {list(shape[:-1])}: "
            "drop the last dimension with squeeze(-1), and no other",
        )


def kind_is_known(subject: Subject) -> None:
    """The attribute `kind` says what the numbers are; the loss and the meshing go by it."""
    kind = getattr(subject.build(), "kind", "sdf")
    require(kind in ("sdf", "occupancy"), f"`kind` of {subject} is {kind!r}; expected 'sdf' or 'occupancy'")


def build_is_deterministic(subject: Subject) -> None:
    """The seed decides its initial parameters, which are the start of every fit."""
    import torch

    first, second = (subject.build().state_dict() for _ in range(2))
    wrong = [name for name, value in first.items() if not torch.equal(value, second[name])]
    require(
        not wrong,
        f"two builds of {subject} under one seed differ in {', '.join(wrong)}; draw from torch's global generator",
    )


def points_do_not_see_one_another(subject: Subject) -> None:
    """The value at a point depends on that point alone: meshing asks for them in other batches than the fit."""
    import torch

    inr, points = subject.build(), points_in_cube(20, 3)
    with torch.no_grad():
        whole, alone = inr(points), torch.cat([inr(points[k : k + 1]) for k in range(20)])
    require(
        torch.allclose(whole, alone, rtol=1e-3, atol=1e-5),
        f"values of {subject} at points alone differ by up to {float((whole - alone).abs().max()):.3g} from those in a "
        "batch; use no batch norm, and nothing that mixes points",
    )


def forward_is_pure(subject: Subject) -> None:
    """The forward pass writes nothing and draws nothing: many shapes go through one module."""
    import torch

    inr, points = subject.build(), points_in_cube(20, 3)
    before = {name: value.clone() for name, value in (*inr.named_parameters(), *inr.named_buffers())}
    first, second = inr(points), inr(points)
    require(
        torch.equal(first, second),
        f"{subject} gave two answers to one question; leave out dropout and randomness",
    )
    wrong = [n for n, v in (*inr.named_parameters(), *inr.named_buffers()) if not torch.equal(v, before[n])]
    require(not wrong, f"the forward pass of {subject} changed {', '.join(wrong)}; write nothing there")


def only_parameters_are_kept(subject: Subject) -> None:
    """Its state is its parameters: a weight vector is all that is generated, so nothing else would be restored."""
    inr = subject.build()
    wrong = sorted(set(inr.state_dict()) - {name for name, _ in inr.named_parameters()})
    require(
        not wrong,
        f"{', '.join(wrong)} of {subject} is state but no parameter; register it with persistent=False, or learn it",
    )
    frozen = [name for name, value in inr.named_parameters() if not value.requires_grad]
    require(not frozen, f"{', '.join(frozen)} of {subject} does not require a gradient; make it a buffer")


def many_at_once_are_one_by_one(subject: Subject) -> None:
    """It goes through torch's `vmap` and `functional_call`, with other weights than its own: so all shapes are fitted.

    What a module keeps beside its parameters, or a Python branch on a tensor's values, shows here.
    """
    import torch

    from shapegen.inr.field import evaluate
    from shapegen.inr.layout import parameter_layout

    inr = subject.build()
    layout, start = parameter_layout(inr), _weights(inr)
    weights = start + 0.1 * start.abs().mean() * torch.randn(3, layout.size, generator=torch.Generator().manual_seed(1))
    points = points_in_cube(3, 40, 3)
    together = evaluate(inr, weights, points)
    modules = [_with(subject, layout.unflatten(row)) for row in weights]
    alone = torch.stack([module(each) for module, each in zip(modules, points, strict=True)])
    require(
        torch.allclose(together, alone, rtol=1e-3, atol=1e-4),
        f"through vmap, values of {subject} differ by up to {float((together - alone).abs().max()):.3g} from those of "
        "modules with the same weights; forward must be a pure function of the module's parameters",
    )
    require(
        not torch.allclose(together[0], evaluate(inr, start[None], points[:1])[0]),
        f"other weights do not change the values of {subject}; forward must use the module's parameters",
    )


def gradient_reaches_every_parameter(subject: Subject) -> None:
    """Every parameter tensor has a gradient through `vmap`, so that a fit moves it."""
    from shapegen.inr.field import evaluate, field_loss
    from shapegen.inr.layout import parameter_layout

    inr = subject.build()
    weights, points = _weights(inr)[None].requires_grad_(), points_in_cube(1, 500, 3)
    field_loss(inr, evaluate(inr, weights, points), points.norm(dim=-1) - 0.3 + 0.05).sum().backward()
    assert weights.grad is not None
    gradients = parameter_layout(inr).unflatten(weights.grad[0])
    dead = [name for name, each in gradients.items() if not each.isfinite().all() or not each.any()]
    require(not dead, f"{', '.join(dead)} of {subject} has no finite gradient other than zero; use it in forward")


def _weights(inr: nn.Module) -> Tensor:
    from shapegen.inr.layout import parameter_layout

    return parameter_layout(inr).flatten({name: value.detach().clone() for name, value in inr.named_parameters()})


def _with(subject: Subject, parameters: dict[str, Tensor]) -> Any:
    """Return a module of its own that has these parameters."""
    inr = subject.build()
    inr.load_state_dict(parameters, strict=False)
    return inr.requires_grad_(False)


CHECKS = (
    any_number_of_points,
    kind_is_known,
    build_is_deterministic,
    points_do_not_see_one_another,
    forward_is_pure,
    only_parameters_are_kept,
    many_at_once_are_one_by_one,
    gradient_reaches_every_parameter,
    *inr_extras.CHECKS,
)
