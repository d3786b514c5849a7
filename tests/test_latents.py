"""Assembling, splitting and standardising what is generated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shapegen.diffusion.latents import LatentLayout, LatentScaler, assemble, calibrated, fit_scaler, split
from shapegen.store import read_tensors, write_tensors


def population(rows: int, tokens: int, width: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    code_mask = torch.rand(tokens, width, generator=generator) > 0.3
    code_mask[0, 0] = True
    spread = 0.2 + torch.rand(tokens, width, generator=generator)
    codes = (1 + spread * torch.randn(rows, tokens, width, generator=generator)) * code_mask
    log_scale = 5.4 + 0.12 * torch.randn(rows, generator=generator)
    return LatentLayout(code_mask), codes, log_scale


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(2, 20),
    tokens=st.integers(1, 6),
    width=st.integers(1, 6),
    kind=st.sampled_from(["entry", "global", "none"]),
    seed=st.integers(0, 1000),
)
def test_there_and_back(rows, tokens, width, kind, seed):
    layout, codes, log_scale = population(rows, tokens, width, seed)
    x, mask = assemble(layout, codes, log_scale)
    assert x.shape == (rows, tokens + 1, width)
    assert mask.sum() == layout.code_mask.sum() + 1
    assert (x[:, ~mask] == 0).all()
    scaler = fit_scaler(layout, x, standardisation=kind)
    standard = scaler.standardise(x)
    assert (standard[:, ~mask] == 0).all()
    back_codes, back_scale = split(layout, scaler.restore(standard))
    torch.testing.assert_close(back_codes, codes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(back_scale, log_scale, atol=1e-5, rtol=1e-5)


def test_standardisation_by_entry_against_numpy():
    layout, codes, log_scale = population(200, 3, 4)
    x, mask = assemble(layout, codes, log_scale)
    got = fit_scaler(layout, x).standardise(x)[:, mask]
    values = x[:, mask].numpy().astype(np.float64)
    np.testing.assert_allclose(got, (values - values.mean(axis=0)) / values.std(axis=0), atol=1e-4)


def test_standardisation_of_the_whole_keeps_relative_spread():
    layout, codes, log_scale = population(200, 3, 4)
    x, _ = assemble(layout, codes, log_scale)
    for kind in ("global", "none"):
        standard = fit_scaler(layout, x, standardisation=kind).standardise(x)
        code = standard[:, :-1][:, layout.code_mask]
        ratio = code.std(dim=0) / codes[:, layout.code_mask].std(dim=0)
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
        size = standard[:, -1, 0]
        assert float(size.mean()) == pytest.approx(0, abs=1e-3)
        assert float(size.std(unbiased=False)) == pytest.approx(1, abs=1e-3)
        if kind == "global":
            assert float(code.mean()) == pytest.approx(0, abs=1e-4)
            assert float(code.std(unbiased=False)) == pytest.approx(1, abs=1e-4)
        else:
            torch.testing.assert_close(code, codes[:, layout.code_mask])


def test_entries_that_hardly_vary_are_not_blown_up():
    layout = LatentLayout(torch.ones(2, 3, dtype=torch.bool))
    codes = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(0))
    codes[:, 0, 1] = 3.0
    codes[:, 1, 2] = 3.0 + 1e-6 * codes[:, 0, 0]
    x, _ = assemble(layout, codes, torch.full((50,), 5.0))
    scaler = fit_scaler(layout, x)
    standard = scaler.standardise(x)
    assert standard.isfinite().all()
    assert standard[:, [0, 1], [1, 2]].abs().max() < 0.01
    # What the network makes of such an entry, an error of about 0.1, is restored to nearly nothing.
    moved = scaler.restore(standard + 0.1) - scaler.restore(standard)
    assert moved[:, 0, 1].abs().max() < 1e-3
    assert moved[:, -1, 0].abs().max() < 1e-3


def test_one_row_can_be_standardised():
    layout, codes, log_scale = population(1, 2, 3)
    x, _ = assemble(layout, codes, log_scale)
    scaler = fit_scaler(layout, x)
    assert scaler.standardise(x).abs().max() == 0
    torch.testing.assert_close(scaler.restore(scaler.standardise(x)), x)


def test_state_survives_a_file(tmp_path):
    layout, codes, log_scale = population(20, 2, 3)
    x, _ = assemble(layout, codes, log_scale)
    scaler = fit_scaler(layout, x)
    write_tensors(tmp_path / "scaler.safetensors", scaler.state())
    again = LatentScaler.from_state(read_tensors(tmp_path / "scaler.safetensors"))
    assert torch.equal(again.standardise(x), scaler.standardise(x))


def test_what_does_not_fit_is_refused():
    layout, codes, log_scale = population(4, 2, 3)
    x, _ = assemble(layout, codes, log_scale)
    with pytest.raises(ValueError, match=r"expected codes \[n, 2, 3\]"):
        assemble(layout, codes[:, :, :2], log_scale)
    with pytest.raises(ValueError, match="log_scale"):
        assemble(layout, codes, log_scale[:2])
    with pytest.raises(ValueError, match="at least one training row"):
        fit_scaler(layout, x[:0])
    with pytest.raises(ValueError, match="not finite"):
        fit_scaler(layout, x / 0)
    with pytest.raises(ValueError, match="'entry', 'global' or 'none'"):
        fit_scaler(layout, x, standardisation="pca")


def test_held_out_rows_calibrate_the_spread():
    layout = LatentLayout(torch.ones(8, 8, dtype=torch.bool))
    generator = torch.Generator().manual_seed(0)
    true = torch.linspace(1.0, 2.0, 64).reshape(8, 8)
    codes = torch.randn(400, 8, 8, generator=generator)
    x, _ = assemble(layout, codes, torch.randn(400, generator=generator))
    wide, _ = assemble(layout, true * torch.randn(200, 8, 8, generator=generator), torch.zeros(200))
    scaler = fit_scaler(layout, x)
    found = calibrated(layout, scaler, wide)
    factor = (found.std / scaler.std)[:-1]
    # A window of 17 entries blurs a straight line at its ends only.
    torch.testing.assert_close(factor.flatten()[8:-8], true.flatten()[8:-8], rtol=0.05, atol=0)
    assert torch.equal(found.mean, scaler.mean)
    assert found.std[-1, 0] == scaler.std[-1, 0], "the size keeps its spread"
    narrow = calibrated(layout, scaler, 0.1 * wide)
    assert torch.equal(narrow.std, scaler.std), "never below the training rows'"
    assert calibrated(layout, scaler, wide[:3]) is scaler
