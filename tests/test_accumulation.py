"""A step's gradient in parts, when memory is short: the same as that of the whole batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shapegen.diffusion.accumulation import Accumulation, in_bfloat16, is_out_of_memory
from shapegen.diffusion.edm import EDM
from shapegen.diffusion.flow import FlowMatching
from shapegen.diffusion.training import TrainingSettings, train

MASK = torch.ones(3, 4, dtype=torch.bool)
MASK[2, 1:] = False
TOLERANCE = 1e-5
"""Of gradients, relative to the largest of a tensor: what the order of a sum in float32 can change."""


class Tight(nn.Module):
    """A network for which there is memory for `most` rows only."""

    def __init__(self, most: int, error: BaseException | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(13, 24), nn.Tanh(), nn.Linear(24, 12))
        self.most, self.error, self.sizes = most, error or torch.OutOfMemoryError("CUDA out of memory"), []

    def forward(self, x, t, cond=None):
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise self.error
        shift = 0.0 if cond is None else cond[:, None, None]
        return self.layers(torch.cat([(x + shift).flatten(1), t[:, None]], dim=1)).unflatten(1, (3, 4))


def gradients(most, process, *, cond=None, batch=16):
    network, said = Tight(most), []
    x = torch.randn(batch, 3, 4, generator=torch.Generator().manual_seed(1)) * MASK
    step = Accumulation(said.append)
    errors = step.backward(process, network, x, MASK, torch.Generator().manual_seed(2), cond)
    return errors, [parameter.grad for parameter in network.parameters()], said, network.sizes


@pytest.mark.parametrize("process", [EDM(), FlowMatching()], ids=["edm", "flow"])
@pytest.mark.parametrize("cond", [None, torch.linspace(-1, 1, 16)], ids=["plain", "conditional"])
@pytest.mark.parametrize("most", [1, 3, 8])
def test_gradients_in_parts_are_those_of_the_whole(process, cond, most):
    errors, whole, nothing, _ = gradients(16, process, cond=cond)
    assert nothing == []
    in_parts, parts, said, sizes = gradients(most, process, cond=cond)
    assert max(sizes[-(16 // most) :]) <= most
    assert said
    torch.testing.assert_close(in_parts, errors, rtol=TOLERANCE, atol=TOLERANCE)
    for one, other in zip(parts, whole, strict=True):
        assert (one - other).abs().max() <= TOLERANCE * other.abs().max()


@pytest.mark.parametrize("process", [EDM(), FlowMatching()], ids=["edm", "flow"])
def test_bfloat16_is_of_the_products_alone(process):
    """Eight bits of mantissa in the network's outputs; weights, gradients and losses are float32."""
    x = torch.randn(16, 3, 4, generator=torch.Generator().manual_seed(1)) * MASK
    kinds, found = [], []
    for bfloat16 in (False, True):
        network = Tight(16)
        network.layers.register_forward_hook(lambda module, given, result: kinds.append(result.dtype))
        step = Accumulation(print, bfloat16=bfloat16)
        errors = step.backward(process, network, x, MASK, torch.Generator().manual_seed(2), None)
        found.append((errors, [parameter.grad for parameter in network.parameters()]))
    assert kinds == [torch.float32, torch.bfloat16]
    (errors, gradients), (rough, rough_gradients) = found
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, errors)
    torch.testing.assert_close(rough, errors, rtol=0.05, atol=0.02)
    for one, other in zip(rough_gradients, gradients, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() <= 0.05 * other.norm()


def test_bfloat16_where_it_is_asked_for_or_a_gpu_has_it(monkeypatch):
    assert [in_bfloat16(text, "cpu") for text in ("auto", "float32", "bfloat16")] == [False, False, True]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert [in_bfloat16(text, "cuda:1") for text in ("auto", "float32", "bfloat16")] == [True, False, True]


@pytest.mark.parametrize("batch", [16, 7])
def test_the_whole_is_the_gradient_of_the_loss(batch):
    _, ours, _, _ = gradients(batch, EDM(), batch=batch)
    network = Tight(batch)
    x = torch.randn(batch, 3, 4, generator=torch.Generator().manual_seed(1)) * MASK
    EDM().loss(network, x, MASK, torch.Generator().manual_seed(2)).backward()
    for one, parameter in zip(ours, network.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-6, atol=1e-7)


def test_what_is_no_lack_of_memory_comes_out_and_so_does_a_lack_for_one_row():
    for error in (RuntimeError("shapes do not fit"), ValueError("x")):
        with pytest.raises(type(error), match=str(error)):
            Accumulation(pytest.fail).backward(
                EDM(), Tight(0, error), torch.zeros(4, 3, 4), MASK, torch.Generator(), None
            )
    said: list[str] = []
    with pytest.raises(MemoryError):
        Accumulation(said.append).backward(
            EDM(), Tight(0, MemoryError()), torch.zeros(4, 3, 4), MASK, torch.Generator(), None
        )
    assert [text.split("added up in ")[1][0] for text in said] == ["2", "4"]


def test_torchs_own_allocator_says_so():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)


def test_a_training_short_of_memory_ends_as_one_with_enough(tmp_path):
    x = torch.randn(12, 3, 4, generator=torch.Generator().manual_seed(3)) * MASK
    settings = TrainingSettings(steps=30, batch=8, evaluate_every=10, validation_levels=4, validation_repeats=1)
    ends = []
    said: list[str] = []
    for most in (1000, 3):
        network = Tight(most)
        network.train()
        result = train(
            network,
            EDM(),
            x,
            None,
            MASK,
            settings=settings,
            seed=0,
            checkpoint=tmp_path / str(most),
            log=lambda step, values: None,
            note=said.append,
        )
        ends.append((result.curve[-1]["loss"], torch.cat([p.detach().flatten() for p in network.parameters()])))
    assert [text for text in said if "out of memory" in text] == [said[-2], said[-1]]
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-4)
    torch.testing.assert_close(ends[0][1], ends[1][1], rtol=1e-3, atol=1e-4)
