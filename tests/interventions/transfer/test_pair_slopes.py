"""The slopes of the best pair: shares, margins and verdicts, recomputed from the slopes of each prompt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.interventions.transfer.slopes import SlopeMeter
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.transfer.vectors import AT_NATIVE_NORM, CARRIED, NATIVE, NATIVE_AT_CARRIED_NORM, SHIFT


@pytest.fixture(scope="module")
def by_name(vectors):
    """The slope of each prompt, by vector."""
    transfer, result, _ = vectors
    best = {each.name: each.vector for each in transfer.vectors_of_best}
    meter = SlopeMeter(transfer.target, transfer.best[1], result.slopes.scales)
    return dict(zip(best, meter.slopes(list(best.values())), strict=True))


def test_shares_are_at_both_norms(vectors, by_name):
    _, result, _ = vectors
    native, carried, rescaled = (by_name[name].mean() for name in (NATIVE, CARRIED, AT_NATIVE_NORM))
    assert result.slopes.share.value == pytest.approx([carried / native], abs=1e-4)
    assert result.slopes.share_at_native_norm.value == pytest.approx([rescaled / native], abs=1e-4)
    assert result.at_native_norm.norm == pytest.approx(result.native_norm)


def test_margins_and_verdicts(vectors, by_name):
    transfer, result, _ = vectors
    slopes, controls = result.slopes, {n: v for n, v in by_name.items() if n not in (NATIVE, CARRIED, AT_NATIVE_NORM)}
    steepest = max(controls.values(), key=lambda each: each.mean())
    assert slopes.steepest_control == pytest.approx(steepest.mean(), abs=1e-4)
    assert slopes.margin_over_steepest.value == pytest.approx([(by_name[CARRIED] - steepest).mean()], abs=1e-4)
    assert slopes.drawn == pytest.approx([v.mean() for n, v in controls.items() if n != SHIFT], abs=1e-4)
    assert (slopes.mean_shift is None) == (SHIFT not in controls)
    assert slopes.beats_controls == (not {transfer.route.control_noun, SHIFT} & set(slopes.unbeaten))
    not_exceeded = [kind.noun for kind in slopes.unrelated if not kind.is_exceeded]
    own = (SHIFT, transfer.route.control_noun, *slopes.mismatched.names)
    assert [noun for noun in slopes.unbeaten if noun not in own] == not_exceeded
    assert slopes.beats_unrelated == (not not_exceeded)
    if slopes.carried.value[0] < slopes.steepest_control:
        assert not slopes.beats_controls


def test_the_native_vector_is_compared_with_the_same_controls_at_their_norm(vectors, by_name):
    transfer, result, _ = vectors
    slopes, best = result.slopes, {each.name: each.vector for each in transfer.vectors_of_best}
    norms = {name: float(np.linalg.norm(vector)) for name, vector in best.items()}
    meter = SlopeMeter(transfer.target, transfer.best[1], slopes.scales)
    (own,) = meter.slopes([best[NATIVE] * (norms[CARRIED] / norms[NATIVE])])
    assert slopes.native_at_carried_norm.value == pytest.approx([own.mean()], abs=1e-4)
    row = slopes.rows.names.index(NATIVE_AT_CARRIED_NORM)
    assert slopes.rows.slopes.value[row] == slopes.native_at_carried_norm.value[0]
    assert slopes.rows.norms[row] == pytest.approx(norms[CARRIED])
    controls = {name: values for name, values in by_name.items() if name not in (NATIVE, CARRIED, AT_NATIVE_NORM)}
    margins = transfer.target.on_prompts.held_out.bootstrap.mean(own - np.stack(list(controls.values())))
    not_exceeded = {name for name, low in zip(controls, margins.low, strict=True) if not low > 0}
    assert (SHIFT in slopes.out_of_reach) == (SHIFT in not_exceeded)
    assert (transfer.route.control_noun in slopes.out_of_reach) == bool(not_exceeded - {SHIFT})


def test_intervals_are_wider_than_those_over_the_held_out_prompts(vectors, by_name):
    transfer, result, _ = vectors
    bootstrap = transfer.target.on_prompts.held_out.bootstrap
    alone = bootstrap.mean(by_name[CARRIED][None])
    assert result.slopes.carried.low[0] < alone.low[0]
    assert result.slopes.carried.high[0] > alone.high[0]


def estimate(value, low, high):
    return Estimate(*(np.array([part]) for part in (value, low, high)))


@pytest.mark.parametrize(
    ("changes", "comes_over"),
    [
        ({}, True),
        ({"beats_controls": False}, False),
        ({"carried": estimate(-1.0, -2.0, -0.5)}, False),
        ({"carried": estimate(1.0, np.nan, np.nan)}, False),
        ({"margin": estimate(1.0, -0.1, 2.0)}, False),
        ({"margin": estimate(1.0, np.nan, np.nan)}, False),
    ],
)
def test_an_effect_comes_over_only_if_every_kind_of_control_is_exceeded(vectors, changes, comes_over):
    slopes = vectors[1].slopes
    changes = dict(changes)
    margin = changes.pop("margin", estimate(1.0, 0.5, 1.5))
    kinds = [replace(slopes.unrelated[0], margin=estimate(1.0, 0.5, 1.5)), replace(slopes.unrelated[1], margin=margin)]
    mismatched = replace(slopes.mismatched, margin=estimate(1.0, 0.5, 1.5))
    good = {"carried": estimate(3.0, 2.0, 4.0), "beats_controls": True, "unrelated": kinds, "mismatched": mismatched}
    assert replace(slopes, **good | changes).comes_over == comes_over


def test_rows_are_the_vectors_and_all_controls(vectors):
    transfer, result, _ = vectors
    rows = result.slopes.rows
    names = [each.name for each in transfer.vectors_of_best]
    assert rows.names[:3] == names[:3]
    assert rows.names[4 : len(names) + 1] == names[3:]
    others = [name for kind in result.slopes.unrelated for name in kind.names]
    assert rows.names[len(names) + 1 :] == [*others, *result.slopes.mismatched.names]
    assert rows.kinds[:5] == [NATIVE, CARRIED, AT_NATIVE_NORM, NATIVE_AT_CARRIED_NORM, "control"]
    assert rows.kinds[-81:] == ["unrelated prompts"] * 40 + ["unrelated names"] * 40 + ["another concept"]
    assert len(rows.norms) == len(rows.cosines) == len(rows.slopes.value) == len(rows.shares.value) == len(rows.names)
    assert rows.slopes.low[1] == result.slopes.carried.low[0]
    assert rows.shares.high[1:3].tolist() == [*result.slopes.share.high, *result.slopes.share_at_native_norm.high]
    assert rows.shares.value == pytest.approx(rows.slopes.value / rows.slopes.value[0])
