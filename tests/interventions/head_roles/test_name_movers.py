"""The edits around the name movers, against the interventions that make the same edits from a config."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.knockout import Knockout
from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.ablate import Ablate
from ioi_lab.interventions.head_roles.name_movers import (
    MIN_CONTROLS,
    at_end,
    control_heads,
    control_sets,
    direct_effects_without,
    knock_out_name_movers,
    query_effects,
)
from ioi_lab.interventions.path_patch import PathPatch
from ioi_lab.lenses.direct import direct_effects
from ioi_lab.models.heads import head_name
from tests.conftest import ioi_task

MOVERS = [(1, 0), (1, 3)]
N_REFERENCE = 4


@pytest.fixture
def engine(model):
    return Engine(model, ioi_task(n=8).prompt_pairs(model.tokens))


@pytest.fixture
def knockout(engine):
    return Knockout(engine, N_REFERENCE, seed=3)


def knocked_out(engine, heads):
    ablation = Ablate(
        head=[head_name(head) for head in heads], position="END", sets="together", method="mean_by_position",
        reference="abc", n_reference=N_REFERENCE, seed=3,
    )  # fmt: skip
    sets = ablation.plan(ablation.rows(engine.shape, engine.prompts), engine)
    return sets[0], engine.run(sets, "clean").logit_diff[0]


def test_query_effects_are_those_of_path_patching_as_in_the_paper(engine):
    senders = [(0, 1), (0, 3)]
    effects = query_effects(engine, senders, MOVERS)
    paths = PathPatch(
        head=[head_name(head) for head in senders], position="END", direction="noise", receiver_input="q",
        receiver=[head_name(head) for head in MOVERS], mlps="free",
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


def test_controls_of_paths_are_other_heads_before_the_last_mover():
    candidates, movers = [(1, 1), (2, 2)], [(2, 0), (4, 1)]
    drawn = control_heads(candidates, movers, n_heads=8, count=15, seed=0)
    assert len(set(drawn)) == 15
    assert all(1 <= layer < 4 for layer, _ in drawn)  # from the first candidate's layer on
    assert not set(drawn) & {*candidates, *movers}
    assert drawn == control_heads(candidates, movers, n_heads=8, count=15, seed=0)
    assert drawn != control_heads(candidates, movers, n_heads=8, count=15, seed=1)
    assert len(control_heads(candidates, movers, n_heads=8, count=100, seed=0)) == 24 - 3


def test_heads_are_knocked_out_by_their_reference_mean_at_end(engine, knockout):
    others = [(0, 2), (1, 1)]
    by_movers, by_others = engine.run([knockout.of(at_end(MOVERS)), knockout.of(at_end(others))], "clean").logit_diff
    assert by_movers == pytest.approx(knocked_out(engine, MOVERS)[1], abs=1e-5)
    assert by_others == pytest.approx(knocked_out(engine, others)[1], abs=1e-5)


def test_direct_effects_without_the_movers_are_those_under_their_knockout(engine, knockout):
    direct = direct_effects(engine, "clean")
    under = direct_effects(engine, "clean", knocked_out(engine, MOVERS)[0])
    got = direct_effects_without(engine, knockout.of(at_end(MOVERS)), direct)
    whole = direct.logit_diff.mean()
    expected = under.difference.heads / whole if whole > 0 else np.full_like(got, np.nan)
    assert got == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_a_knockout_is_compared_with_that_of_its_controls(engine, knockout):
    sets = [[(0, 2)], [(1, 1)], [(0, 0)]] * 7
    result, checks = knock_out_name_movers(engine, MOVERS, {"others": sets, "roleless": sets[:19]}, knockout)
    clean = engine.baseline("clean").logit_diff[0]
    by_movers = (knocked_out(engine, MOVERS)[1] - clean).mean()
    by_sets = [(knocked_out(engine, heads)[1] - clean).mean() for heads in sets[:3]]
    effect = result.controls["others"].effect
    assert result.change.value[0] == pytest.approx(by_movers, abs=1e-5)
    assert effect.change.value[0] == pytest.approx(np.mean(by_sets), abs=1e-5)
    assert (effect.lowest_change, effect.highest_change) == pytest.approx((min(by_sets), max(by_sets)), abs=1e-5)
    assert effect.name_movers_minus_change.value[0] == pytest.approx(by_movers - np.mean(by_sets), abs=1e-5)
    n_as_low = 7 * sum(change <= by_movers for change in by_sets)
    assert effect.p_value == pytest.approx((1 + n_as_low) / 22)
    assert result.controls["roleless"].effect is None  # one too few
    assert MIN_CONTROLS == 20
    assert (checks.everything, checks.nothing) == pytest.approx((1, 0), abs=1e-3)


def test_without_name_movers_only_the_checks_are_run(engine):
    result, checks = knock_out_name_movers(engine, [], {}, Knockout(engine, N_REFERENCE, seed=3))
    assert result is None
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
