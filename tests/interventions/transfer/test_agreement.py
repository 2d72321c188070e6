"""Agreement prompt by prompt: known answers, and the numbers of a transfer recomputed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ioi_lab.interventions.transfer.agreement import Agreement, Effects, VectorAgreement
from ioi_lab.interventions.transfer.slopes import SlopeMeter
from ioi_lab.stats.bootstrap import Bootstrap
from ioi_lab.transfer.vectors import CARRIED, NATIVE
from tests.interventions.transfer.conftest import SCALES

BOOTSTRAP = Bootstrap(16, 0)


def effects(slopes, scales=(-1.0, 1.0)):
    return Effects(np.outer(scales, slopes), slopes)


@pytest.fixture
def native():
    return effects(np.random.default_rng(0).uniform(1, 3, 16))


def test_the_same_effects_agree_whole(native):
    same = Agreement.of(native, native, BOOTSTRAP)
    assert same.correlation.value == pytest.approx([1])
    assert same.squared_error.value == pytest.approx([0])
    assert same.relative_error.value == pytest.approx([0])


def test_half_the_effect_has_a_correlation_of_1_and_a_quarter_of_the_squares(native):
    half = Agreement.of(effects(native.slopes / 2), native, BOOTSTRAP)
    assert half.correlation.value == pytest.approx([1])
    assert half.squared_error.value == pytest.approx([(native.slopes**2).mean() / 4])
    assert half.relative_error.value == pytest.approx([0.25])


def test_no_effect_at_all_is_an_error_of_1(native):
    none = Agreement.of(effects(np.zeros(16)), native, BOOTSTRAP)
    assert np.isnan(none.correlation.value).all()
    assert none.relative_error.value == pytest.approx([1])
    reverse = Agreement.of(native, effects(np.zeros(16)), BOOTSTRAP)
    assert np.isnan(reverse.relative_error.value).all()


def test_shuffled_prompts_agree_by_chance(native):
    rng = np.random.default_rng(1)
    values = [
        Agreement.of(effects(rng.permutation(native.slopes)), native, BOOTSTRAP).correlation.value[0] for _ in range(40)
    ]
    assert abs(np.mean(values)) < 3 / np.sqrt(40 * 16)


def test_unrelated_directions_have_a_quantile(native):
    rng = np.random.default_rng(2)
    kind = SimpleNamespace(slopes=rng.standard_normal((39, 16)))
    agreement = VectorAgreement.of((native, native, native), [kind], BOOTSTRAP)
    correlations = [np.corrcoef(row, native.slopes)[0, 1] for row in kind.slopes]
    assert agreement.unrelated == pytest.approx(max(correlations))
    assert np.isnan(VectorAgreement.of((native, native, native), [], BOOTSTRAP).unrelated)


def test_the_agreement_of_a_transfer_is_that_of_its_vectors(vectors):
    transfer, result, _ = vectors
    best = {each.name: each.vector for each in transfer.vectors_of_best}
    meter = SlopeMeter(transfer.target, transfer.best[1], result.slopes.scales)
    native, carried = meter.slopes([best[NATIVE], best[CARRIED]])
    assert result.agreement.carried.correlation.value == pytest.approx([np.corrcoef(native, carried)[0, 1]], abs=1e-3)
    engine, scales = transfer.target.on_prompts.held_out, [scale for scale in SCALES if scale]
    changes = [
        engine.run(transfer.target.edits(best[name], transfer.best[1], scales), "clean").logit_diff
        - engine.baseline("clean").logit_diff
        for name in (NATIVE, CARRIED)
    ]
    error = np.square(changes[1] - changes[0]).mean()
    assert result.agreement.carried.squared_error.value == pytest.approx([error], rel=1e-3)
    assert result.agreement.carried.relative_error.value == pytest.approx(
        [error / np.square(changes[0]).mean()], rel=1e-3
    )
