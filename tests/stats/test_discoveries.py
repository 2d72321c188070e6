from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, ttest_1samp

from ioi_lab.stats.bootstrap import Bootstrap
from ioi_lab.stats.discoveries import adjusted, discover

GAP = np.full((1, 32), 2.0)


def noise(rows, prompts=32, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, prompts))


def test_p_values_are_those_of_the_t_test():
    changes = noise(5) + 0.3
    found = discover(changes, GAP, Bootstrap(32, 0), rounding=0.0)
    assert found.p_value == pytest.approx(ttest_1samp(changes, 0, axis=1).pvalue)
    assert (found.p_adjusted >= found.p_value).all()


@pytest.mark.parametrize(
    "p_value", [[0.5], [0.01, 0.04, 0.03], [0.2, 0.2, 0.001, 0.0, 1.0], np.linspace(1, 0, 50) ** 4]
)
def test_adjusted_p_values_are_those_of_scipy(p_value):
    assert adjusted(np.array(p_value)).tolist() == false_discovery_control(p_value).tolist()


@pytest.mark.parametrize("rows", [16, 270])
def test_of_nothing_something_is_found_in_one_run_of_twenty(rows):
    """Without the correction, in nearly every run with 270 rows."""
    runs = [discover(noise(rows, seed=seed), GAP, Bootstrap(32, 0), 0.0) for seed in range(200)]
    assert np.mean([run.found.any() for run in runs]) < 0.1
    assert np.mean([(run.p_value < 0.05).any() for run in runs]) > 0.5


def test_real_effects_are_found_among_many():
    changes = noise(200)
    changes[:5] += 2.0
    found = discover(changes, GAP, Bootstrap(32, 0), 0.0)
    assert found.found[:5].all()
    assert found.found[5:].mean() < 0.02


def test_what_changes_nothing_or_everything_alike():
    found = discover(np.stack([np.zeros(32), np.full(32, 1e-5), np.ones(32)]), GAP, Bootstrap(32, 0), rounding=1e-4)
    assert found.p_value.tolist() == [1.0, 0.0, 0.0]
    assert found.found.tolist() == [False, False, True]


def test_few_prompts_find_nothing():
    found = discover(np.ones((3, 7)), GAP[:, :7], Bootstrap(7, 0), 0.0)
    assert not found.is_known
    assert not found.found.any()
    assert found.held_out is None


def test_the_largest_is_measured_on_prompts_that_did_not_select_it():
    """Among equal effects, the one that is largest on some prompts is overestimated there, and only there."""
    selected, held_out = [], []
    for seed in range(100):
        changes = noise(100, seed=seed) + 0.2
        top = discover(changes, GAP, Bootstrap(32, seed), 0.0).held_out
        first, _ = Bootstrap(32, seed).halves()
        selected.append(changes[top.row, first].mean() / 2)
        held_out.append(top.effect.value[0])
    assert np.mean(held_out) == pytest.approx(0.1, abs=0.03)
    assert np.mean(selected) > 0.3


def test_groups_are_the_units_of_the_test():
    groups = np.repeat(np.arange(8), 4).tolist()
    changes = np.random.default_rng(1).normal(size=(1, 8))[:, groups] + 0.5
    alone, grouped = (discover(changes, GAP, Bootstrap(32, 0, groups=each), 0.0) for each in (None, groups))
    assert grouped.p_value[0] > 3 * alone.p_value[0]
    assert grouped.held_out is None  # four groups in a half
