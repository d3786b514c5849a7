"""INRs as vectors, their evaluation, and fitting many at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from shapegen.inr.field import as_distance, evaluate, field_loss, numpy_field, output_kind
from shapegen.inr.fitting import FitSettings, fit_weights, warmup_cosine
from shapegen.inr.layout import layer_scale, parameter_layout
from shapegen.inr.samples import FieldSamples, load_samples
from shapegen_plugins.fourier_mlp import FourierMlp
from shapegen_plugins.siren import Siren


def sphere_samples(radii: list[float], rows: int = 8192) -> FieldSamples:
    """Exact samples of centred spheres, half of them near the surface."""
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(len(radii), rows, 3, generator=generator) - 0.5
    direction = torch.nn.functional.normalize(torch.randn(len(radii), rows // 2, 3, generator=generator), dim=-1)
    shift = torch.tensor(radii)[:, None, None] + 0.02 * torch.randn(len(radii), rows // 2, 1, generator=generator)
    points[:, ::2] = direction * shift
    return FieldSamples(points, points.norm(dim=-1) - torch.tensor(radii)[:, None])


def start_of(inr: torch.nn.Module) -> torch.Tensor:
    return parameter_layout(inr).flatten({name: value.detach() for name, value in inr.named_parameters()})


@pytest.mark.parametrize(
    ("inr", "count"),
    [
        (Siren(width=64, depth=3, omega=30.0), 8641),
        (Siren(width=128, depth=3, omega=30.0), 33665),
        (FourierMlp(width=128, depth=3, octaves=4), 36737),
    ],
)
def test_parameter_counts_are_the_published_ones(inr, count):
    assert parameter_layout(inr).size == count


def test_the_reference_network_has_the_reference_tensors():
    sizes = [entry.size for entry in parameter_layout(FourierMlp(width=128, depth=3, octaves=4)).entries]
    assert sizes == [3456, 128, 16384, 128, 16384, 128, 128, 1]


def test_the_positional_encoding_is_the_formula():
    inr = FourierMlp(width=4, depth=1, octaves=4)
    seen = []
    inr.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    xyz = torch.tensor([[0.1, -0.2, 0.3]])
    inr(xyz)
    expected = [xyz[0]]
    expected += [torch.sin(2.0**k * xyz[0]) for k in range(4)] + [torch.cos(2.0**k * xyz[0]) for k in range(4)]
    torch.testing.assert_close(seen[0][0], torch.cat(expected))


def test_flatten_undoes_unflatten():
    layout = parameter_layout(Siren(width=8, depth=2, omega=30.0))
    weights = torch.randn(3, layout.size)
    assert torch.equal(layout.flatten(layout.unflatten(weights)), weights)


@pytest.mark.parametrize("inr", [Siren(width=16, depth=2, omega=30.0), FourierMlp(width=16, depth=2, octaves=3)])
def test_many_at_once_are_the_same_as_one_by_one(inr):
    layout = parameter_layout(inr)
    weights = start_of(inr) + 0.05 * torch.randn(4, layout.size)
    points = torch.rand(4, 50, 3) - 0.5
    together = evaluate(inr, weights, points)
    for row, values in enumerate(together):
        alone = functional_call(inr, layout.unflatten(weights[row]), (points[row],))
        torch.testing.assert_close(values, alone, rtol=1e-4, atol=1e-5)
    field = numpy_field(inr, weights[2])
    torch.testing.assert_close(
        torch.from_numpy(field(points[2].numpy())), as_distance(inr, together[2]), rtol=1e-4, atol=1e-5
    )


def test_both_kinds_of_field_are_negative_inside():
    assert as_distance(Siren(width=4, depth=1, omega=1.0), torch.tensor([-1.0]))[0] == pytest.approx(-0.1)
    assert as_distance(FourierMlp(width=4, depth=1, octaves=1), torch.tensor([3.0]))[0] == -3.0


def test_losses_are_their_formulas():
    output, distance = torch.tensor([[0.5, -2.0, 0.0]]), torch.tensor([[0.02, -0.3, 0.5]])
    sdf = (abs(0.5 - 0.2) + abs(-2.0 + 1.0) + abs(0.0 - 1.0)) / 3
    assert field_loss(Siren(width=4, depth=1, omega=1.0), output, distance)[0] == pytest.approx(sdf)
    probability = torch.sigmoid(output)
    inside = torch.tensor([[0.0, 1.0, 0.0]])
    entropy = -(inside * probability.log() + (1 - inside) * (1 - probability).log()).mean()
    torch.testing.assert_close(field_loss(FourierMlp(width=4, depth=1, octaves=1), output, distance)[0], entropy)


def test_samples_near_the_surface_are_drawn_most():
    band, both = 0.02, sphere_samples([0.2, 0.3])
    drawn = both.near_surface(band, torch.Generator().manual_seed(3))
    for row, radius in enumerate((0.2, 0.3)):
        alone = both.select(slice(row, row + 1)).near_surface(band, torch.Generator().manual_seed(3))
        assert torch.equal(alone.points[0], drawn.points[row])
        torch.testing.assert_close(drawn.points[row].norm(dim=1) - radius, drawn.distances[row], rtol=0, atol=1e-6)
        chance = 0.1 + 0.9 * torch.exp(-both.distances[row].abs() / band)
        for low, high in ((0.0, 0.01), (0.01, 0.03), (0.03, 1.0)):
            within = (both.distances[row].abs() >= low) & (both.distances[row].abs() < high)
            share = ((drawn.distances[row].abs() >= low) & (drawn.distances[row].abs() < high)).float().mean()
            assert share.item() == pytest.approx((chance[within].sum() / chance.sum()).item(), abs=0.01)
        # in random order: any run of neighbours is a sample of the whole
        halves = drawn.distances[row].abs().chunk(2)
        assert halves[0].mean().item() == pytest.approx(halves[1].mean().item(), rel=0.1)


def test_such_fits_come_nearer_to_the_surface_and_keep_the_far_field():
    torch.manual_seed(0)
    inr = Siren(width=16, depth=2, omega=15.0)
    samples = sphere_samples([0.2, 0.3])
    settings = FitSettings(steps=300, points=256, learning_rate=5e-3)
    start = fit_weights(inr, start_of(inr), samples, settings=settings, seed=0)
    plain, near = (
        fit_weights(inr, start, samples, settings=replace(settings, band=band), seed=1) for band in (0.0, 0.02)
    )
    points = torch.rand(20000, 3, generator=torch.Generator().manual_seed(5)) - 0.5

    def error(weights, row, radius):
        truth = (points.norm(dim=1) - radius).clamp(-0.1, 0.1)
        off = (torch.from_numpy(numpy_field(inr, weights[row])(points.numpy())) - truth).abs()
        return off[truth.abs() < 0.02].mean(), off[truth.abs() == 0.1].max()

    for row, radius in enumerate((0.2, 0.3)):
        assert error(near, row, radius)[0] < 0.85 * error(plain, row, radius)[0]
        assert error(near, row, radius)[1] < 0.09


def test_an_unknown_kind_of_field_is_refused():
    inr = Siren(width=4, depth=1, omega=1.0)
    inr.kind = "density"
    with pytest.raises(ValueError, match="'sdf' or 'occupancy'"):
        output_kind(inr)


def test_layer_scale_is_each_tensors_own_size():
    inr = Siren(width=32, depth=2, omega=30.0)
    scale = parameter_layout(inr).unflatten(layer_scale(inr))
    for name, value in inr.named_parameters():
        if name == "last.bias":
            continue
        torch.testing.assert_close(scale[name].flatten()[0], value.detach().square().mean().sqrt())
    assert scale["last.bias"].item() > 0


def test_the_schedule_rises_then_falls():
    factors = [warmup_cosine(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.2)
    assert max(factors) == factors[5] == pytest.approx(1.0)
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert factors[-1] < 1e-3


@pytest.mark.parametrize(
    ("inr", "rate"), [(Siren(width=32, depth=2, omega=15.0), 5e-3), (FourierMlp(width=32, depth=2, octaves=3), 1e-2)]
)
def test_fitted_spheres_have_the_right_radius(inr, rate):
    samples = sphere_samples([0.2, 0.3])
    weights = fit_weights(
        inr, start_of(inr), samples, settings=FitSettings(steps=300, points=512, learning_rate=rate), seed=0
    )
    grid = torch.rand(20000, 3, generator=torch.Generator().manual_seed(5)) - 0.5
    for row, radius in enumerate((0.2, 0.3)):
        predicted = torch.from_numpy(numpy_field(inr, weights[row])(grid.numpy())) < 0
        truth = grid.norm(dim=1) < radius
        assert ((predicted & truth).sum() / (predicted | truth).sum()).item() > 0.93


def test_a_shapes_fit_does_not_depend_on_its_neighbours():
    inr = Siren(width=16, depth=2, omega=15.0)
    samples = sphere_samples([0.2, 0.3, 0.35])
    settings = FitSettings(steps=20, points=64, learning_rate=1e-3)
    together = fit_weights(inr, start_of(inr), samples, settings=settings, seed=0)
    alone = fit_weights(inr, start_of(inr), samples.select(slice(1, 2)), settings=settings, seed=0)
    torch.testing.assert_close(together[1], alone[0], rtol=1e-3, atol=1e-4)


def test_batches_that_are_fitted_side_by_side_do_not_mix():
    inr = Siren(width=16, depth=2, omega=15.0)
    samples = sphere_samples([0.15, 0.2, 0.25, 0.3, 0.35], rows=512)
    settings = FitSettings(steps=40, points=64, learning_rate=1e-3, batch=2)
    together = fit_weights(inr, start_of(inr), samples, settings=settings, seed=0)
    for first in (0, 2, 4):
        rows = slice(first, first + 2)
        assert torch.equal(
            together[rows], fit_weights(inr, start_of(inr), samples.select(rows), settings=settings, seed=0)
        )


def test_fitting_reports_every_shape_and_repeats_itself():
    inr = Siren(width=8, depth=2, omega=15.0)
    samples, seen = sphere_samples([0.2, 0.25, 0.3], rows=512), []
    settings = FitSettings(steps=3, points=32, batch=2)
    first = fit_weights(inr, start_of(inr), samples, settings=settings, seed=4, advance=seen.append)
    assert seen == [2, 1]
    assert torch.equal(first, fit_weights(inr, start_of(inr), samples, settings=settings, seed=4))
    assert not torch.equal(first, fit_weights(inr, start_of(inr), samples, settings=settings, seed=5))


def test_a_fit_that_diverges_says_so():
    from shapegen.errors import TrainingDivergedError

    inr = Siren(width=8, depth=2, omega=15.0)
    samples = sphere_samples([0.2], rows=256)
    broken = FieldSamples(samples.points, samples.distances * float("nan"))
    with pytest.raises(TrainingDivergedError, match="learning_rate"):
        fit_weights(inr, start_of(inr), broken, settings=FitSettings(steps=2, points=16), seed=0)


def test_samples_of_a_population_are_stacked(ellipsoids):
    samples = load_samples(ellipsoids.of("test"))
    assert samples.points.shape == (4, 8192, 3)
    points, distances = samples.draw(100, torch.Generator().manual_seed(0), torch.tensor([3, 1]))
    assert points.shape == (2, 100, 3)
    row = (samples.points[3] == points[0, 0]).all(dim=1).nonzero()[0]
    assert samples.distances[3, row] == distances[0, 0]
