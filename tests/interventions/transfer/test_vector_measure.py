"""Derived numbers of transferred vectors, recomputed from the readout of each vector alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ioi_lab.transfer.vectors import CARRIED, NATIVE, RANDOM, SHUFFLED
from tests.interventions.transfer.conftest import SCALES


@pytest.fixture(scope="module")
def logit_diffs(vectors):
    """By vector: `[scale, prompt]`, each vector run on its own."""
    transfer, _, _ = vectors
    engine, target = transfer.target.on_prompts.held_out, transfer.target
    return [engine.run(target.edits(each.vector, each.layer, SCALES), "clean").logit_diff for each in transfer.vectors]


def slopes(result, logit_diff):
    """By prompt, of a straight line over the linear range of the best layer."""
    low, high = result.linear_scales
    rows = [row for row, scale in enumerate(SCALES) if low <= scale <= high]
    return np.polyfit(np.array(SCALES)[rows], logit_diff[rows], 1)[0]


def rows_of(transfer, name):
    """The vectors of a kind in the best pair of layers."""
    return [
        row
        for row, each in enumerate(transfer.vectors)
        if each.name.startswith(name)
        and each.layer == transfer.best[1]
        and each.source_layer in (None, transfer.best[0])
    ]


def test_slopes_shares_and_margins(vectors, logit_diffs):
    transfer, result, _ = vectors
    (native,), (carried,) = (
        [slopes(result, logit_diffs[row]) for row in rows_of(transfer, name)] for name in (NATIVE, CARRIED)
    )
    controls = [
        slopes(result, logit_diffs[row])
        for row, each in enumerate(transfer.vectors)
        if each.name not in (NATIVE, CARRIED)
    ]
    assert result.best == transfer.best
    assert result.native_slope.value == pytest.approx([native.mean()], abs=1e-4)
    assert result.slope.value == pytest.approx([carried.mean()], abs=1e-4)
    assert result.share_of_native.value == pytest.approx([carried.mean() / native.mean()], abs=1e-4)
    assert result.steepest_control_slope == pytest.approx(max(each.mean() for each in controls), abs=1e-4)
    steepest = max(controls, key=lambda each: each.mean())
    assert result.margin_over_steepest_control.value == pytest.approx([(carried - steepest).mean()], abs=1e-4)
    assert result.native_steers == (result.native_slope.low[0] > 0)
    assert result.n_controls == len(controls)
    margins = [(carried - each).mean() for each in controls]
    assert not result.beats_controls or min(margins) > 0
    at = result.source_layers.index(result.best[0]), result.layers.index(result.best[1])
    assert result.carried_slopes[at] == pytest.approx(carried.mean(), abs=1e-4)
    assert result.native_slopes[at[1]] == pytest.approx(native.mean(), abs=1e-4)


def test_flips_and_strongest_scales(vectors, logit_diffs):
    transfer, result, _ = vectors
    clean = transfer.target.on_prompts.held_out.baseline("clean").logit_diff
    for name, strongest, rows in (
        (NATIVE, result.native_strongest, result.native),
        (CARRIED, result.carried_strongest, result.carried),
    ):
        (row,) = rows_of(transfer, name)
        flipped = ((logit_diffs[row] > 0) != (clean > 0)).mean(axis=1)
        assert rows.estimates["flipped"].value == pytest.approx(flipped)
        best = max(zip(flipped, SCALES, strict=True), key=lambda pair: (pair[0], -abs(pair[1])))
        assert abs(strongest.scale) == abs(best[1])
        assert strongest.flipped.value == pytest.approx([best[0]])
        assert strongest.logit_diff.value == pytest.approx(
            [logit_diffs[row][SCALES.index(strongest.scale)].mean()], abs=1e-4
        )
    at = SCALES.index(result.carried_strongest.scale)
    controls = [each for each in result.rows if each.name not in (NATIVE, CARRIED)]
    assert result.control_flipped_highest == max(each.estimates["flipped"].value[at] for each in controls)


def test_the_band_is_where_a_further_drawn_control_would_lie(vectors, logit_diffs):
    transfer, result, _ = vectors
    drawn = [*rows_of(transfer, RANDOM), *rows_of(transfer, SHUFFLED)]
    means = np.stack([logit_diffs[row].mean(axis=1) for row in drawn])
    assert result.n_drawn_controls == len(drawn) == 5
    assert result.drawn_logit_diff == pytest.approx(means.mean(axis=0), abs=1e-4)
    varies = means.std(axis=0) > 0
    spread = means.std(axis=0, ddof=1) * np.sqrt(1 + 1 / len(drawn))
    expected = stats.t.interval(0.95, len(drawn) - 1, means.mean(axis=0)[varies], spread[varies])
    assert np.array(result.band)[:, varies] == pytest.approx(np.array(expected), abs=1e-3)
    at = SCALES.index(result.carried_strongest.scale)
    assert result.band_at_strongest == (result.band[0][at], result.band[1][at])


def test_rows_are_one_per_vector_with_its_norm(vectors):
    transfer, result, checks = vectors
    assert [row.name for row in result.rows] == [each.name for each in transfer.vectors]
    for row, each in zip(result.rows, transfer.vectors, strict=True):
        assert row.norm == pytest.approx(np.linalg.norm(each.vector))
        assert len(row.estimates["logit_diff"].value) == len(SCALES)
        unscaled = row.estimates["recovery"].value[SCALES.index(0.0)]
        assert unscaled == pytest.approx(1, abs=1e-4)  # adding nothing leaves the clean pass
    assert (checks.everything, checks.nothing) == (pytest.approx(1, abs=1e-3), pytest.approx(0, abs=1e-3))
    assert (result.mean_shift is None) == (result.map_r2 is None)
    assert (result.shared_tokens is None) == (result.map_r2 is not None)
    if result.map_r2 is not None:
        assert result.map_r2 == pytest.approx(0.1 * sum(result.best))
