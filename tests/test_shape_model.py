"""The classical shape model: distances on a lattice as an INR, and their principal components."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from sklearn.decomposition import PCA

from conftest import icosphere, make_population
from shapegen.data.placement import Placement
from shapegen.data.population import Shape, write_surface
from shapegen.geometry.meshing import mesh_field
from shapegen.geometry.sdf import occupancy, signed_distance
from shapegen.geometry.surface import is_closed, signed_volume
from shapegen.inr.exact import exact_weights
from shapegen.inr.field import evaluate, numpy_field
from shapegen.protocols import ExactInr
from shapegen_plugins.full import Full
from shapegen_plugins.pca import Pca
from shapegen_plugins.sdf_grid import SdfGrid, truncated_distance
from shapegen_plugins.shape_model import PcaConfig
from shapegen_plugins.siren import Siren
from shapegen_plugins.weight_spaces import FullConfig

BALL = icosphere(4)


def nothing(step, values):
    """Log nowhere."""


def ellipsoid(a: float, b: float, *, subdivisions: int = 4):
    """Return an ellipsoid with half-axes a, b and 0.25 in the canonical cube."""
    sphere = icosphere(subdivisions)
    return sphere.moved(sphere.vertices * np.array([a, b, 0.25]))


@pytest.mark.parametrize("resolution", [9, 24, 33])
def test_lattice_holds_the_exact_truncated_distances(resolution):
    surface = ellipsoid(0.42, 0.2)
    axis = np.linspace(-0.5, 0.5, resolution)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    reference = signed_distance(surface, points).clip(-0.1, 0.1).reshape((resolution,) * 3)
    np.testing.assert_allclose(truncated_distance(surface, resolution), reference, atol=1e-12)


def test_lattice_of_a_thin_plate_misses_nothing():
    """Thinner than a cell: no lattice point is inside, but the distances are those of the plate."""
    import trimesh

    box = trimesh.creation.box((0.6, 0.6, 0.004))
    surface = BALL.__class__(np.asarray(box.vertices) + np.array([0, 0, 0.013]), np.asarray(box.faces, dtype=np.int64))
    found = truncated_distance(surface, 24)
    axis = np.linspace(-0.5, 0.5, 24)
    centre = found[12, 12]
    np.testing.assert_allclose(centre, (np.abs(axis - 0.013) - 0.002).clip(max=0.1), atol=1e-12)


def test_field_is_scipys_trilinear_interpolation():
    inr = SdfGrid(7)
    torch.manual_seed(0)
    values = torch.randn(3, 7, 7, 7)
    points = torch.rand(3, 200, 3) - 0.5
    points[:, :8] = torch.tensor([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    found = evaluate(inr, values.flatten(1), points)
    axis = np.linspace(-0.5, 0.5, 7)
    for row, at, result in zip(values, points, found, strict=True):
        reference = RegularGridInterpolator((axis,) * 3, row.double().numpy())(at.double().numpy())
        np.testing.assert_allclose(result.numpy(), reference, atol=1e-5)


def test_field_can_be_fitted_too():
    inr = SdfGrid(6)
    points = torch.rand(1, 50, 3) - 0.5
    weights = inr.values.detach().flatten()[None].requires_grad_(True)
    evaluate(inr, weights, points).sum().backward()
    assert weights.grad.sum().item() == pytest.approx(50, rel=1e-4)  # the interpolation's weights add up to one
    assert inr(torch.full((1, 3), 0.7)).item() == pytest.approx(inr(torch.full((1, 3), 0.5)).item())


def test_a_surface_comes_back_from_its_weights():
    surface = ellipsoid(0.4, 0.3)
    inr = SdfGrid(48)
    assert isinstance(inr, ExactInr)
    assert not isinstance(Siren(width=4, depth=1, omega=1.0), ExactInr)
    meshed = mesh_field(numpy_field(inr, inr.weights_of(surface)), resolution=96)
    assert is_closed(meshed)
    assert signed_volume(meshed) == pytest.approx(signed_volume(surface), rel=0.01)
    assert np.abs(signed_distance(surface, meshed.vertices)).max() < 0.004


def shapes_of(folder, axes) -> list[Shape]:
    shapes = []
    for number, (a, b) in enumerate(axes):
        shape = Shape(f"e/{number:03d}", f"{number}", "train", 1.0, Placement(200.0), folder)
        surface = ellipsoid(a, b)
        write_surface(folder / "surfaces" / shape.file_name, surface.moved(surface.vertices * 200))
        shapes.append(shape)
    return shapes


@pytest.fixture(scope="module")
def two_parameters(tmp_path_factory):
    """25 ellipsoids for training and 6 others, which two numbers describe; the model learned from the former."""
    rng = np.random.default_rng(0)
    grid = [(a, b) for a in np.linspace(0.3, 0.45, 5) for b in np.linspace(0.25, 0.4, 5)]
    others = np.stack([rng.uniform(0.31, 0.44, 6), rng.uniform(0.26, 0.39, 6)], axis=1)
    shapes = shapes_of(tmp_path_factory.mktemp("ellipsoids2"), [*grid, *others])
    inr = SdfGrid(32)
    space = Pca(PcaConfig(variance=0.98, token_width=3), inr)
    space.fit(shapes[:25], seed=0, device="cpu", checkpoint=tmp_path_factory.mktemp("none"), log=nothing)
    return inr, space, shapes


def viou(inr, weights, shape: Shape) -> float:
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20000, 3))
    inside = numpy_field(inr, weights)(points.astype(np.float32)) < 0
    truth = occupancy(shape.canonical(), points)
    return (inside & truth).sum() / (inside | truth).sum()


def test_two_parameters_need_few_modes_and_held_out_shapes_are_reached(two_parameters):
    inr, space, shapes = two_parameters
    assert space.size <= 6
    assert space.shares[:2].sum() > 0.8
    codes = space.encode(shapes[25:], seed=0, device="cpu")
    reached = [viou(inr, row, shape) for row, shape in zip(space.decode(codes), shapes[25:], strict=True)]
    assert min(reached) > 0.97


def test_modes_are_scikit_learns(two_parameters, monkeypatch):
    inr, space, shapes = two_parameters
    exact = exact_weights(inr, shapes[:25])
    monkeypatch.setattr(space.full, "own_weights", lambda shapes, **_: exact)
    rows = exact.double().numpy()
    reference = PCA(n_components=space.size).fit(rows)
    np.testing.assert_allclose(space.shares.numpy(), reference.explained_variance_ratio_, rtol=1e-4)
    codes = space.encode(shapes[:25], seed=0, device="cpu").flatten(1)[:, : space.size]
    whitened = reference.transform(rows) / np.sqrt(reference.explained_variance_)
    np.testing.assert_allclose(np.abs(codes.numpy()), np.abs(whitened), atol=2e-3)
    torch.testing.assert_close(torch.cov(codes.T), torch.eye(space.size), rtol=0, atol=2e-3)
    rebuilt = reference.inverse_transform(reference.transform(rows))
    np.testing.assert_allclose(space.decode(space.encode(shapes[:25], seed=0, device="cpu")), rebuilt, atol=1e-4)


def test_codes_are_padded_and_decoding_undoes_encoding(two_parameters):
    _, space, _ = two_parameters
    assert space.mask.sum() == space.size
    torch.manual_seed(0)
    codes = torch.randn(4, space.tokens, space.width) * space.mask
    flat = ((space.decode(codes) - space.mean) @ space.axes.T / space.deviations).reshape(4, -1)
    torch.testing.assert_close(flat, codes.flatten(1)[:, : space.size], rtol=1e-3, atol=1e-3)


def test_state_comes_back(two_parameters):
    inr, space, shapes = two_parameters
    other = Pca(space.config, inr)
    other.load_state(space.state())
    assert (other.tokens, other.size) == (space.tokens, space.size)
    codes = space.encode(shapes[:2], seed=0, device="cpu")
    assert torch.equal(other.encode(shapes[:2], seed=0, device="cpu"), codes)
    assert torch.equal(other.decode(codes), space.decode(codes))


def test_a_surface_is_measured_once(ellipsoids, monkeypatch):
    inr, train, asked = SdfGrid(8), ellipsoids.of("train")[:3], []
    monkeypatch.setattr(SdfGrid, "weights_of", lambda self, surface: asked.append(surface) or torch.rand(512))
    first = exact_weights(inr, train)
    assert torch.equal(exact_weights(inr, train[1:]), first[1:])
    assert len(asked) == 3
    exact_weights(SdfGrid(8), train)
    assert len(asked) == 6  # another INR, another resolution perhaps
    monkeypatch.setattr("shapegen.inr.exact.REMEMBERED", 0)
    assert not torch.equal(exact_weights(SdfGrid(8), [*train, *train])[3:], first)
    assert len(asked) == 12


@pytest.mark.parametrize(("options", "size"), [({"size": 3, "variance": 1.0}, 3), ({"variance": 1.0}, 11)])
def test_modes_are_bounded(ellipsoids, tmp_path, options, size):
    space = Pca(PcaConfig(**options), SdfGrid(12))
    space.fit(ellipsoids.of("train"), seed=0, device="cpu", checkpoint=tmp_path, log=nothing)
    assert space.size == size


def test_full_space_takes_exact_weights(ellipsoids, tmp_path):
    inr = SdfGrid(12)
    space = Full(FullConfig(token_width=200), inr)
    train = ellipsoids.of("train")
    space.fit(train, seed=0, device="cpu", checkpoint=tmp_path, log=nothing)
    decoded = space.decode(space.encode(train, seed=0, device="cpu"))
    torch.testing.assert_close(decoded, exact_weights(inr, train), rtol=0, atol=1e-5)
    assert list(tmp_path.iterdir()) == []


def test_pca_of_fitted_networks(tmp_path):
    population = make_population(tmp_path, 8, samples=2048)
    torch.manual_seed(0)
    inr = Siren(width=24, depth=2, omega=15.0)
    space = Pca(PcaConfig(steps=120, start_steps=120, points=256, variance=1.0), inr)
    train = population.of("train")
    space.fit(train, seed=0, device="cpu", checkpoint=tmp_path / "part", log=nothing)
    assert space.size == len(train) - 1
    codes = space.encode(train, seed=0, device="cpu")
    reached = [viou(inr, row, shape) for row, shape in zip(space.decode(codes), train, strict=True)]
    assert min(reached) > 0.85
