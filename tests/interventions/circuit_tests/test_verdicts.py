from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.circuits.validity.self_repair import SelfRepair
from ioi_lab.interventions.circuit_tests.verdicts import subject_line, verdicts
from ioi_lab.stats.bootstrap import Estimate


def sentence(result, test):
    (found,) = (each for each in verdicts(result) if each.test == test)
    return found.line


def test_sentences_of_a_right_circuit(right):
    f = right.faithfulness
    assert sentence(right, "sufficiency") == (
        f"sufficiency: holds; f = {f.value[0]:.2f} [{f.low[0]:.2f}, {f.high[0]:.2f}]; of circuits of this size, 20 of "
        "20 of random edges (p = 0.048), 20 of 20 of random edges of the same classes (p = 0.048), 20 of 20 of random "
        "paths (p = 0.048) are farther from f = 1"
    )
    assert "cost less when they are left out" in sentence(right, "necessity")
    assert sentence(right, "minimality").startswith("minimality: ")
    assert "bar 0.8" in sentence(right, "stability")
    assert "0.24 for the published IOI circuit of GPT-2 small" in sentence(right, "equivalence")
    assert "is not shown to differ by order beyond chance" in sentence(right, "by_order")
    assert "none is shown to cost more together" in sentence(right, "self_repair")
    possible = sum(each.faithfulness is not None for each in right.ablations)
    assert f"of {possible} choices of ablation" in sentence(right, "ablation_choice")


def test_sentences_of_a_wrong_circuit(wrong):
    assert "no more than the median added edge: " in sentence(wrong, "minimality")
    assert sentence(wrong, "completeness").startswith("completeness: fails; without a set K, circuit and model differ")
    assert sentence(wrong, "sufficiency").split(";")[0] != "sufficiency: holds"


def test_too_few_added_edges_are_named(right):
    few = replace(right.minimality, p_value=np.full(5, 0.5))
    line = sentence(replace(right, minimality=few), "minimality")
    assert "20 edges added at random are too few to tell 5 edges from them; 100 are needed" in line


def test_edges_that_were_not_tested_are_named(right):
    changes = Estimate(*np.ones((3, 5)))
    needed = replace(right.minimality, p_value=np.full(5, 0.01), n_edges=9, changes=changes)
    line = sentence(replace(right, minimality=needed), "minimality")
    assert line.startswith("minimality: not shown; each of the 5 weakest of 9 edges changes f by more than edges added")
    assert "; the others were not tested" in line


def test_what_is_not_possible_is_said(right):
    large = [replace(each, why_not="the circuit has all edges") for each in right.sufficiency]
    assert sentence(replace(right, sufficiency=large), "sufficiency").endswith("; the circuit has all edges")
    part = [right.necessity[0], replace(right.necessity[1], why_not="2 edges are too few")]
    line = sentence(replace(right, necessity=part), "necessity")
    assert line.startswith("necessity: holds; ")
    assert line.endswith("not possible with random edges of the same classes: 2 edges are too few")
    alone = replace(right.self_repair, pairs=[])
    assert sentence(replace(right, self_repair=alone), "self_repair").endswith("the circuit has fewer than two heads")
    assert sentence(replace(right, completeness=[]), "completeness").startswith("completeness: not testable; ")


def test_backups_are_named_with_their_losses(right):
    def estimate(value):
        return Estimate(np.array([value]), np.array([value - 0.1]), np.array([value + 0.1]))

    backed = SelfRepair(
        [("a1.h0", "a2.h3")], 1, estimate(1), estimate(0), estimate(5), estimate(4), np.array([True]), is_tested=True
    )
    line = sentence(replace(right, self_repair=backed), "self_repair")
    assert line.startswith(
        "self repair: fails; 1 of 1 pairs tested cost more together than the sum of both alone, most "
    )
    assert line.endswith(
        "a1.h0 and a2.h3: 5.00 [4.90, 5.10] against 1.00 [0.90, 1.10] and 0.00 [-0.10, 0.10] logits, as if one "
        "backed up the other (saturation has the same effect)"
    )


def test_the_subject_says_on_which_prompts_it_is_tested(right, found):
    assert subject_line(right).startswith("circuit of 5 edges of ")
    assert "whether its names occur in the prompts that the circuit was found on is unknown" in subject_line(right)
    n_discovery, n_evaluation = (len(rows) for rows in (found.subject.split.discovery, found.subject.split.evaluation))
    assert f"found by topn on {n_discovery} other prompts, tested on {n_evaluation} prompts, with other names" in (
        subject_line(found)
    )


def test_every_statistic_is_a_number(right, wrong):
    for result in (right, wrong):
        found = verdicts(result)
        assert all(np.isfinite(each.value.value).all() for verdict in found for each in verdict.statistics)
        assert len({each.test for each in found}) == len(found)


def test_mean_overlap_has_the_spread_of_pairs(right):
    (stability,) = (each for each in verdicts(right) if each.test == "stability")
    pairs = stability.statistics[0]
    assert pairs.value.value == pytest.approx([right.stability.pairwise.mean()])
    assert pairs.reference == 0.8
