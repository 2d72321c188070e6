"""Derived numbers of transferred vectors, recomputed from the readout of each vector alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ioi_lab.transfer.vectors import AT_NATIVE_NORM, CARRIED, NATIVE, RANDOM, SHUFFLED
from tests.interventions.transfer.conftest import SCALES


@pytest.fixture(scope="module")
def logit_diffs(vectors):
    """By vector: `[scale, prompt]`, each vector run on its own."""
    transfer, _, _ = vectors
    engine, target = transfer.target.on_prompts.held_out, transfer.target
    return [engine.run(target.edits(each.vector, each.layer, SCALES), "clean").logit_diff for each in transfer.vectors]


def slopes(result, logit_diff):
    """By prompt, of a straight line over the scales of the best layer."""
    rows = [SCALES.index(scale) for scale in result.slopes.scales]
    return np.polyfit(np.array(SCALES)[rows], logit_diff[rows], 1)[0]


def rows_of(transfer, name):
    """The vectors of a kind in the best pair of layers."""
    return [
        row
        for row, each in enumerate(transfer.vectors)
        if any(each is one for one in transfer.vectors_of_best)
        and (each.name == name or (each.is_control and each.name.startswith(name)))
    ]


def test_slopes_are_those_of_each_vector_alone(vectors, logit_diffs):
    transfer, result, _ = vectors
    assert result.best == transfer.best
    by_name = {
        each.name: slopes(result, logit_diffs[row]).mean()
        for row, each in enumerate(transfer.vectors)
        if any(each is one for one in transfer.vectors_of_best)
    }
    rows = dict(zip(result.slopes.rows.names, result.slopes.rows.slopes.value, strict=True))
    assert {name: rows[name] for name in by_name} == pytest.approx(by_name, abs=1e-4)
    assert result.slopes.native.value == pytest.approx([by_name[NATIVE]], abs=1e-4)
    assert result.slopes.carried.value == pytest.approx([by_name[CARRIED]], abs=1e-4)
    at = result.by_layers.source_layers.index(result.best[0]), result.by_layers.layers.index(result.best[1])
    assert result.by_layers.carried[at] == pytest.approx(by_name[CARRIED], abs=1e-4)
    assert result.by_layers.native[at[1]] == pytest.approx(by_name[NATIVE], abs=1e-4)


def test_slopes_by_layers_are_tested_together(vectors, logit_diffs):
    """Student's t over prompts, corrected for all pairs and native vectors together."""
    transfer, result, _ = vectors
    assert (result.slopes.scales == -result.slopes.scales[::-1]).all()
    at_best = [row for row, each in enumerate(transfer.vectors) if each.layer == result.best[1] and not each.is_control]
    by_layers = result.by_layers
    assert by_layers.carried_not_found.shape == by_layers.carried.shape == (2, 2)
    assert by_layers.native_not_found.shape == (2,)
    p_values = [stats.ttest_1samp(slopes(result, logit_diffs[row]), 0).pvalue for row in at_best[:3]]  # native, carried
    column = by_layers.layers.index(result.best[1])
    not_found = [by_layers.native_not_found[column], *by_layers.carried_not_found[:, column]]
    for p_value, is_not_found in zip(p_values, not_found, strict=True):
        if p_value > 0.05 or p_value < 0.05 / 6:  # whatever the others are
            assert is_not_found == (p_value > 0.05)


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
    controls = [each for each in result.rows if each.name not in (NATIVE, CARRIED, AT_NATIVE_NORM)]
    assert result.control_flipped_highest == max(each.estimates["flipped"].value[at] for each in controls)


def test_the_band_is_where_a_further_drawn_control_would_lie(vectors, logit_diffs):
    transfer, result, _ = vectors
    drawn = [*rows_of(transfer, RANDOM), *rows_of(transfer, SHUFFLED)]
    means = np.stack([logit_diffs[row].mean(axis=1) for row in drawn])
    assert result.drawn.count == len(drawn) == 5
    assert result.drawn.logit_diff == pytest.approx(means.mean(axis=0), abs=1e-4)
    varies = means.std(axis=0) > 0
    spread = means.std(axis=0, ddof=1) * np.sqrt(1 + 1 / len(drawn))
    expected = stats.t.interval(0.95, len(drawn) - 1, means.mean(axis=0)[varies], spread[varies])
    assert np.array(result.drawn.band)[:, varies] == pytest.approx(np.array(expected), abs=1e-3)
    at = SCALES.index(result.carried_strongest.scale)
    assert result.band_at_strongest == (result.drawn.band[0][at], result.drawn.band[1][at])


def test_rows_are_one_per_vector_with_its_norm(vectors):
    transfer, result, checks = vectors
    assert [row.name for row in result.rows] == [each.name for each in transfer.vectors]
    for row, each in zip(result.rows, transfer.vectors, strict=True):
        assert row.norm == pytest.approx(np.linalg.norm(each.vector))
        assert len(row.estimates["logit_diff"].value) == len(SCALES)
        unscaled = row.estimates["recovery"].value[SCALES.index(0.0)]
        assert unscaled == pytest.approx(1, abs=1e-4)  # adding nothing leaves the clean pass
    assert result.by_prompt.readout.logit_diff.shape == (len(result.rows) * len(SCALES), result.n_prompts)
    assert (checks.everything, checks.nothing) == (pytest.approx(1, abs=1e-3), pytest.approx(0, abs=1e-3))
    assert (result.mean_shift is None) == (result.map_r2 is None)
    assert (result.shared_tokens is None) == (result.map_r2 is not None)
    if result.map_r2 is not None:
        assert result.map_r2 == pytest.approx(0.1 * sum(result.best))
