from __future__ import annotations

from ioi_lab.interventions.circuit_tests.verdict import Verdict, joint_outcome, outcomes


def verdict(test: str, outcome) -> Verdict:
    return Verdict(test, outcome, "the evidence", [])


def test_a_claim_holds_only_if_it_does_in_every_comparison():
    assert joint_outcome(["holds", "not testable"]) == "holds"
    assert joint_outcome(["holds", "not shown", "not testable"]) == "not shown"
    assert joint_outcome(["holds", "not shown", "fails"]) == "fails"
    assert joint_outcome(["not testable"] * 2) == joint_outcome([]) == "not testable"


def test_a_line_has_the_test_and_its_outcome():
    assert verdict("ablation_choice", "not shown").line == "ablation choice: not shown; the evidence"


def test_outcomes_name_the_tests():
    found = [verdict("a_b", "holds"), verdict("c", "fails"), verdict("d", "holds"), verdict("e", "not shown")]
    assert outcomes(found) == "2 hold (a b, d), 1 fails (c) and 1 is not shown (e)"
