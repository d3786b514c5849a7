"""Checks of masks, against shapes whose faults are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from shapegen.curation.mask_checks import CHECKS, cavities, crumbs, scan_border, slices, tunnels
from shapegen.curation.raw import Evidence, Mask, RawShape

BY_NAME = {check.name: check for check in CHECKS}
AXES = np.meshgrid(*(np.arange(48.0) - 23.5,) * 3, indexing="ij")
BALL = AXES[0] ** 2 + AXES[1] ** 2 + AXES[2] ** 2 < 16**2


def evidence(inside, *, spacing=(2.0, 2.0, 2.0), offset=(10, 10, 10), full=(80, 80, 80)) -> Evidence:
    mask = Mask.cropped(inside, np.diag([*spacing, 1.0]), offset, full)
    return Evidence(RawShape(mask=mask), None, (300, 5000))


def test_ball_passes_every_check():
    found = [check.finding(check.measure(evidence(BALL))) for check in CHECKS]
    assert found == [None] * len(CHECKS)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("last", [False, True])
def test_section_at_the_end_of_the_scan(axis, last):
    inside = BALL.copy()
    np.moveaxis(inside, axis, 0)[: 24 if not last else 0] = False
    np.moveaxis(inside, axis, 0)[24 if last else 48 :] = False
    offset, full = [10, 10, 10], [80, 80, 80]
    if last:
        full[axis] = 10 + 24
    else:
        offset[axis] = -24
    measures = scan_border(evidence(inside, offset=offset, full=full))
    section = BALL[24].sum() * 4 / 100
    assert measures["scan-border"] == pytest.approx(section)
    assert measures["scan-border-share"] == 1
    finding = BY_NAME["scan-border"].finding(measures)
    assert finding is not None
    assert finding.verdict == "cut"
    assert not finding.mended
    assert scan_border(evidence(inside, offset=(10, 10, 10), full=(80, 80, 80)))["scan-border"] == 0


def test_anisotropic_voxels_count_by_their_own_sides():
    inside = BALL.copy()
    inside[:24] = False
    measures = scan_border(evidence(inside, spacing=(5.0, 0.7, 0.9), offset=(-24, 0, 0)))
    assert measures["scan-border"] == pytest.approx(BALL[24].sum() * 0.63 / 100)


def test_loose_pieces():
    inside = BALL.copy()
    inside[:2, :2, :2] = inside[-3:, -3:, -3:] = True
    measures = crumbs(evidence(inside))
    assert measures["crumbs-components"] == 3
    assert measures["crumbs"] == pytest.approx(100 * (8 + 27) / (BALL.sum() + 35))


def test_cavities_are_counted_and_corners_do_not_open_them():
    inside = BALL.copy()
    inside[20:24, 20:24, 20:24] = False
    inside[30, 23, 23] = inside[31, 24, 23] = False  # two cavities that touch along an edge only
    measures = cavities(evidence(inside))
    assert measures["cavities-number"] == 3
    assert measures["cavities"] == pytest.approx(100 * 66 / inside.sum())
    assert BY_NAME["cavities"].finding(measures) is None  # 0.4 %
    assert tunnels(evidence(inside))["tunnels"] == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_tunnels(count):
    inside = BALL.copy()
    for number in range(count):
        inside[:, 14 + 8 * number : 18 + 8 * number, 22:26] = False
    assert tunnels(evidence(inside))["tunnels"] == count


def test_repeated_slices_count_as_one():
    coarse = BALL[:, :, ::4]
    measures = slices(evidence(np.repeat(coarse, 4, axis=2)))
    assert measures["thick-slices-repeated"] == pytest.approx(0.75, abs=0.05)
    assert measures["thick-slices"] == pytest.approx(8, rel=0.2)
    assert BY_NAME["thick-slices"].finding(measures) is not None
    assert slices(evidence(BALL, spacing=(0.7, 0.7, 5)))["thick-slices"] == pytest.approx(5, rel=0.1)


def test_slices_too_far_apart_are_not_mended():
    apart = evidence(BALL, spacing=(2.0, 2.0, 10.0))
    found = BY_NAME["far-slices"].finding(BY_NAME["far-slices"].measure(apart))
    assert found is not None
    assert (found.measure, found.mended) == (pytest.approx(10, rel=0.05), False)
    assert BY_NAME["thick-slices"].finding(slices(apart)).mended


def test_volume_of_the_measures_does_not_depend_on_the_array_order():
    inside = BALL.copy()
    inside[:20] = False
    inside[40, 40, 40] = True
    for check in CHECKS:
        one = check.measure(evidence(inside))
        other = check.measure(evidence(np.ascontiguousarray(inside.transpose(2, 0, 1))))
        assert one == pytest.approx(other, rel=1e-9), check.name
