"""What an INR must do that offers more than its forward pass: weights of a surface, or a form without shapegen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shapegen.testing.check import DoesNotApplyError, Subject, require

if TYPE_CHECKING:
    from torch import Tensor, nn


def exact_weights_are_those_of_the_surface(subject: Subject) -> None:
    """One that gives its weights by `weights_of` gives those of that surface: they are never fitted."""
    import torch

    from shapegen.geometry.sdf import signed_distance
    from shapegen.inr.field import as_distance, evaluate
    from shapegen.protocols import ExactInr
    from shapegen.testing.shapes import pair

    inr: nn.Module = subject.build()
    if not isinstance(inr, ExactInr):
        raise DoesNotApplyError("it has no `weights_of`: its weights are fitted")
    surface, size = pair().truth, sum(value.numel() for value in inr.parameters())
    weights = inr.weights_of(surface)
    found = (tuple(weights.shape), weights.dtype, weights.device.type)
    expected = ((size,), torch.float32, "cpu")
    require(found == expected, f"weights_of of {subject} gave {found}; expected {expected}")
    points = points_in_cube(2000, 3)
    distance = torch.from_numpy(signed_distance(surface, points.numpy()))
    clear = distance.abs() > 0.05
    inside = as_distance(inr, evaluate(inr, weights[None], points[None])[0]) < 0
    share = float((inside == (distance < 0))[clear].float().mean())
    require(
        share > 0.99,
        f"with the weights that {subject} gives to a surface, {100 * share:.0f} % of points that lie well inside or "
        "outside of it come out right; expected above 99 %: check the axes' order, and the sign that goes with `kind`",
    )


def standalone_is_the_same(subject: Subject) -> None:
    """The source that one gives by `standalone` evaluates it, with nothing but torch, as its forward pass does."""
    import torch

    from shapegen.protocols import StandaloneInr

    inr: nn.Module = subject.build()
    if not isinstance(inr, StandaloneInr):
        raise DoesNotApplyError("it has no `standalone`: it is not exported as source")
    weights, points = {name: value.detach() for name, value in inr.named_parameters()}, points_in_cube(50, 3)
    try:
        values, expected = _from_source(inr.standalone()).field(weights, points), inr(points)
    except Exception as error:  # the plugin's own code
        require(False, f"what standalone() of {subject} returns fails with {type(error).__name__}: {error}")
    require(
        values.shape == expected.shape and torch.allclose(values, expected, rtol=1e-4, atol=1e-5),
        f"field() of what standalone() of {subject} returns differs from forward; write the same steps, and the "
        "module's own options as numbers",
    )


def _from_source(text: str) -> Any:
    """Return a module with this text, in which torch is imported."""
    import importlib.util
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standalone.py"
        path.write_text(f"import torch\n\n\n{text}", encoding="utf-8")
        spec = importlib.util.spec_from_file_location("shapegen_standalone", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def points_in_cube(*shape: int) -> Tensor:
    """Return points [*shape] of the canonical cube, the same each time."""
    import torch

    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) - 0.5


CHECKS = (exact_weights_are_those_of_the_surface, standalone_is_the_same)
