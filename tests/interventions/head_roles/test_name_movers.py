"""The edits around the name movers, against the interventions that make the same edits from a config."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.ablate import Ablate
from ioi_lab.interventions.head_roles.name_movers import (
    ablate_name_movers,
    change_of_direct_effects,
    control_sets,
    query_effects,
    resampling_edits,
)
from ioi_lab.interventions.path_patch import PathPatch
from ioi_lab.lenses.direct import direct_effects
from ioi_lab.models.heads import head_name
from tests.conftest import ioi_task

MOVERS = [(1, 0), (1, 3)]


@pytest.fixture
def engine(model):
    return Engine(model, ioi_task(n=8).prompt_pairs(model.tokens))


def ablated(engine, heads, seed):
    ablation = Ablate(
        head=[head_name(head) for head in heads], position="END", sets="together", method="resample",
        reference="random", seed=seed,
    )  # fmt: skip
    edits = ablation.plan(ablation.rows(engine.shape, engine.prompts), engine)
    return edits[0], engine.run(edits, "clean").logit_diff[0]


def test_query_effects_are_those_of_path_patching(engine):
    senders = [(0, 1), (0, 3)]
    effects = query_effects(engine, senders, MOVERS)
    paths = PathPatch(
        head=[head_name(head) for head in senders], position="END", direction="noise", receiver_input="q",
        receiver=[head_name(head) for head in MOVERS],
    )  # fmt: skip
    patched = engine.run(paths.plan(paths.rows(engine.shape, engine.prompts), engine), "clean").logit_diff
    clean, corrupted = engine.baseline("clean").logit_diff[0], engine.baseline("corrupted").logit_diff[0]
    gap = clean.mean() - corrupted.mean()
    assert list(effects) == senders
    for effect, logit_diff in zip(effects.values(), patched, strict=True):
        expected = (clean - logit_diff) / gap if gap > 0 else np.full(len(clean), np.nan)
        assert effect == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_without_senders_there_are_no_query_effects(engine):
    assert query_effects(engine, [], MOVERS) == {}


def test_heads_are_ablated_by_another_prompt_at_end(engine):
    others = [(0, 2), (1, 1)]
    (by_movers, by_others) = engine.run(resampling_edits(engine, [MOVERS, others], seed=3), "clean").logit_diff
    assert by_movers == pytest.approx(ablated(engine, MOVERS, seed=3)[1], abs=1e-5)
    assert by_others == pytest.approx(ablated(engine, others, seed=3)[1], abs=1e-5)
    (another_seed,) = engine.run(resampling_edits(engine, [MOVERS], seed=4), "clean").logit_diff
    assert np.abs(another_seed - by_movers).max() > 1e-4


def test_the_change_of_direct_effects_is_that_under_the_ablation(engine):
    direct = direct_effects(engine, "clean")
    under = direct_effects(engine, "clean", ablated(engine, MOVERS, seed=0)[0])
    change = change_of_direct_effects(engine, MOVERS, direct, seed=0)
    whole = direct.answer.sum.mean()
    expected = (under.answer.heads - direct.answer.heads) / whole if whole > 0 else np.full_like(change, np.nan)
    assert change == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_an_ablation_is_compared_with_the_mean_over_its_controls(engine):
    sets = [[(0, 2)], [(1, 1)], [(0, 0)]]
    ablation, checks = ablate_name_movers(engine, MOVERS, {"others": sets, "roleless": []}, seed=0)
    clean = engine.baseline("clean").logit_diff[0]
    by_movers = (ablated(engine, MOVERS, seed=0)[1] - clean).mean()
    by_sets = [(ablated(engine, heads, seed=0)[1] - clean).mean() for heads in sets]
    effect = ablation.controls["others"].effect
    assert ablation.change.value[0] == pytest.approx(by_movers, abs=1e-5)
    assert effect.change.value[0] == pytest.approx(np.mean(by_sets), abs=1e-5)
    assert (effect.lowest_change, effect.highest_change) == pytest.approx((min(by_sets), max(by_sets)), abs=1e-5)
    assert effect.name_movers_minus_change.value[0] == pytest.approx(by_movers - np.mean(by_sets), abs=1e-5)
    assert ablation.controls["roleless"].effect is None
    assert (checks.everything, checks.nothing) == pytest.approx((1, 0), abs=1e-3)


def test_without_name_movers_only_the_checks_are_run(engine):
    ablation, checks = ablate_name_movers(engine, [], {}, seed=0)
    assert ablation is None
    assert (checks.everything, checks.nothing) == pytest.approx((1, 0), abs=1e-3)


def test_controls_have_as_many_heads_of_each_layer_as_the_name_movers():
    movers, roles = [(2, 0), (2, 5), (4, 1)], {"name mover": [(2, 0), (2, 5), (4, 1)], "induction": [(2, 1), (4, 7)]}
    controls = control_sets(movers, roles, n_heads=8, count=6, seed=0)
    for name, excluded in (("roleless", [*movers, (2, 1), (4, 7)]), ("others", movers)):
        assert len(controls[name]) == 6
        assert len({tuple(heads) for heads in controls[name]}) == 6
        for heads in controls[name]:
            assert [layer for layer, _ in heads] == [2, 2, 4]
            assert len(set(heads)) == 3
            assert not set(heads) & set(excluded)
    assert any((2, 1) in heads or (4, 7) in heads for heads in controls["others"])
    assert control_sets(movers, roles, n_heads=8, count=6, seed=0) == controls
    assert control_sets(movers, roles, n_heads=8, count=6, seed=1) != controls


def test_layers_without_enough_other_heads_give_smaller_sets_or_none():
    movers = [(0, 0), (0, 1), (0, 2)]
    controls = control_sets(movers, {"name mover": movers, "induction": [(0, 3)]}, n_heads=4, count=5, seed=0)
    assert controls == {"roleless": [], "others": [[(0, 3)]]}
