from __future__ import annotations

import numpy as np

from ioi_lab.circuits.counterfactuals import ABLATIONS
from ioi_lab.circuits.validity.ablation_choice import Choice, ablation_choices, outcome_of
from ioi_lab.engine.engine import Engine
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.tasks.prompts import PromptPairs


def choice(value, low, high):
    return Choice("zero", "edges", Estimate(*(np.array([each]) for each in (value, low, high))))


def test_the_planted_edges_do_not_suffice_where_tokens_are_ablated_too(engine, evaluation, right):
    choices = {(each.ablation, each.unit): each for each in ablation_choices(engine, evaluation.graph, right, 0)}
    assert list(choices) == [(ablation, unit) for ablation in ABLATIONS for unit in ("edges", "nodes")]
    assert choices["corrupted", "edges"].faithfulness.value[0] > 0.9
    # without tokens, the queries and values of the induction head are empty: its edges alone do nothing
    assert choices["zero", "edges"].faithfulness.value[0] < 0.1
    assert choices["zero", "nodes"].faithfulness.value[0] > 0.9
    assert outcome_of(list(choices.values())) == "fails"


def test_what_is_not_possible_says_why(engine, evaluation, right):
    few = Engine(engine.model, PromptPairs(list(engine.prompts)[:1]))
    choices = {each.ablation: each for each in ablation_choices(few, evaluation.graph, right, 0)}
    assert choices["resample"].faithfulness is None
    assert choices["resample"].why_not == "only one prompt has 13 tokens"
    assert choices["mean_by_position"].why_not.startswith("no other prompt agrees with")
    assert choices["corrupted"].faithfulness is not None


def test_outcomes():
    assert outcome_of([choice(0.9, 0.8, 1), choice(0.86, 0.7, 1)]) == "holds"
    assert outcome_of([choice(0.9, 0.8, 1), choice(0.8, 0.7, 0.9)]) == "not shown"
    assert outcome_of([choice(0.9, 0.8, 1), choice(0.2, 0.1, 0.3)]) == "fails"
    assert outcome_of([choice(0.9, 0.8, 1), Choice("mean", "edges", None, "why")]) == "not testable"
