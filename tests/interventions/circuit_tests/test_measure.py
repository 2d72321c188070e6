from __future__ import annotations

import pytest

from ioi_lab.interventions.circuit_tests.verdicts import verdicts


def outcomes(result):
    return {each.test: each.outcome for each in verdicts(result)}


def test_the_circuit_that_is_right_passes(right):
    assert right.faithfulness.value[0] > 0.9
    assert outcomes(right) | {"equivalence": "?", "stability": "?", "minimality": "?"} == {
        "sufficiency": "holds",
        "necessity": "holds",
        "minimality": "?",
        "equivalence": "?",
        "ablation_choice": outcomes(right)["ablation_choice"],
        "stability": "?",
        "by_order": "holds",
        "completeness": "holds",
        "self_repair": "not shown",
    }
    changes = dict(zip(right.minimality.edges.tolist(), right.minimality.changes.value, strict=True))
    assert sum(change > 0.9 for change in changes.values()) == 3  # the edges that carry the difference


def test_a_circuit_of_the_same_size_that_is_wrong_fails(wrong):
    found = outcomes(wrong)
    assert abs(wrong.faithfulness.value[0]) < 0.1
    for test in ("sufficiency", "necessity", "minimality"):
        assert found[test] in ("fails", "not shown"), test
    for test in ("equivalence", "completeness", "ablation_choice"):
        assert found[test] == "fails", test


def test_a_circuit_that_is_found_is_tested_as_a_given_one_is(found):
    assert outcomes(found)["sufficiency"] == outcomes(found)["necessity"] == "holds"
    assert found.stability.random < 0.2


def test_the_self_checks_are_those_of_circuits(right):
    assert right.checks.everything == pytest.approx(1, abs=1e-4)
    assert right.checks.nothing == pytest.approx(0, abs=1e-4)
    assert right.logit_diff.shape == (1, 16)
