from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.knockout import Knockout
from ioi_lab.interventions.path_patch import PathPatch
from ioi_lab.interventions.wang2022.config import Wang2022
from ioi_lab.interventions.wang2022.measure import measure_wang2022
from ioi_lab.lenses.direct import direct_effects
from ioi_lab.lenses.roles import Thresholds
from ioi_lab.models.heads import head_name
from ioi_lab.runs.nulls import null_value

NO_EVIDENCE = Thresholds(pattern=1, end=1, copying=1, direct=1, queries=1, backup=1)


def test_paths_are_those_of_path_patching(engine, result):
    suppressors = [head_name(head) for head in result.roles.roles["subject suppressor"]]
    assert [paths.into for paths in result.paths] == [
        "logits", f"queries of the subject suppressors {' '.join(suppressors)}",
    ]  # fmt: skip
    for paths, receivers in zip(result.paths, ({}, {"receiver_input": "q", "receiver": suppressors}), strict=True):
        by_config = PathPatch(position="END", direction="noise", mlps="free", **receivers).measure(engine)
        assert [row.label for row in paths.effects.rows] == [row.label for row in by_config.rows]
        assert paths.effects.effect.value == pytest.approx(by_config.effect.value, abs=1e-5)
        assert (paths.effects.discoveries.found == by_config.discoveries.found).all()


def test_paths_without_effect_have_the_recovery_that_summaries_take_for_it(result):
    without_effect = null_value("recovery", Wang2022().model_dump())
    for paths in result.paths:
        effects = paths.effects
        np.testing.assert_allclose(effects.estimates["recovery"].value - without_effect, effects.effect.value)


def test_the_circuit_has_all_heads_with_a_role_at_its_position(engine, result):
    circuit = result.circuit
    heads = [(head.layer, head.head) for head in circuit.heads]
    assert heads == sorted({head for of_role in result.roles.roles.values() for head in of_role})
    assert {head.position for head in circuit.heads} == {"END"}
    knockout = Knockout(engine, 8, 0)
    alone, nothing = knockout.logit_diffs([knockout.of_all_but(circuit.heads), knockout.of_all_but([])])
    assert circuit.alone.value[0] == pytest.approx(alone.mean(), abs=1e-5)
    assert circuit.nothing.value[0] == pytest.approx(nothing.mean(), abs=1e-5)
    whole = engine.baseline("clean").logit_diff
    assert circuit.share.value[0] == pytest.approx(alone.mean() / whole.mean(), abs=1e-5)
    assert circuit.difference.value[0] == pytest.approx((alone - whole).mean(), abs=1e-5)
    assert 0.5 < circuit.share.value[0] < 1.2
    assert abs(circuit.nothing.value[0]) < 2
    assert {each.kind for each in circuit.completeness} == {"class", "random", "greedy"}
    assert [each.head for each in circuit.minimality] == circuit.heads


def test_movements_are_per_prompt(engine, result):
    assert [head_name(each.head) for each in result.movements] == ["2.0", "3.1", "2.1"]
    direct = direct_effects(engine, "clean")
    for each in result.movements:
        assert each.on_s == pytest.approx(direct.distractor.heads[each.head])
        assert each.to_io.shape == each.to_s.shape == (len(engine.prompts),)
        assert (each.to_io + each.to_s <= 1 + 1e-6).all()


def test_without_roles_there_is_no_circuit(engine):
    result = measure_wang2022(
        engine, NO_EVIDENCE, n_sequences=8, n_controls=20, n_reference=2, n_random=1, n_greedy=1, seed=0
    )
    assert result.circuit is None
    assert [paths.into for paths in result.paths] == ["logits"]
    assert np.isfinite(result.checks.everything)
