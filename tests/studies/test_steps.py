"""The rules by which steps take what they need from the steps before."""

from __future__ import annotations

import pytest

from ioi_lab.studies.findings import Findings, FoundHead
from ioi_lab.studies.steps import CHOSEN, STEPS, NothingChosenError

BY_NAME = {step.name: step for step in STEPS}


def with_heads(*names: str, is_ioi: bool = True, labels=("BOS", "IO", "S1+1", "S2", "END")) -> Findings:
    findings = Findings(labels, is_ioi, max_heads=3, max_layers=2)
    effects = [FoundHead(name, int(name.split(".")[0])) for name in names]
    findings.__dict__ |= {"surviving": effects}
    return findings


@pytest.fixture(autouse=True)
def sixteen_heads(monkeypatch):
    monkeypatch.setattr(Findings, "n_heads_tested", 16)


def chosen(step: str, key: str, findings: Findings):
    return BY_NAME[step].rules[key].choose(findings)


def test_the_largest_heads_are_taken_and_the_reason_says_how_many_there_were():
    choice = chosen("attention", "heads", with_heads("2.0", "0.1", "3.3", "1.2"))
    assert choice.value == ["2.0", "0.1", "3.3"]
    assert "4 of 16 heads" in choice.why
    assert "the 3 with the largest effects" in choice.why
    assert "all of them" in chosen("attention", "heads", with_heads("2.0")).why


def test_receivers_are_not_in_the_first_layer():
    assert chosen("into_v", "receiver", with_heads("0.1", "2.0", "1.1")).value == ["2.0", "1.1"]
    with pytest.raises(NothingChosenError, match="first layer"):
        chosen("into_q", "receiver", with_heads("0.1", "0.2"))


def test_receivers_of_keys_and_values_are_those_that_queries_read():
    findings = with_heads("1.5", "2.8", "1.4")
    assert chosen("into_k", "receiver", findings).value == ["1.5", "2.8", "1.4"]
    findings.queries_per_key = 3
    assert chosen("into_v", "receiver", findings).value == ["1.1", "2.2"]
    assert chosen("into_q", "receiver", findings).value == ["1.5", "2.8", "1.4"]


def test_layers_are_those_of_the_heads_that_are_taken():
    assert chosen("steering", "layer", with_heads("3.0", "0.1", "3.2", "1.0")).value == [0, 3]
    assert chosen("steering", "layer", with_heads("3.0", "2.1", "1.2")).value == [2, 3]


@pytest.mark.parametrize(("step", "key"), [("attention", "heads"), ("into_k", "receiver"), ("steering", "layer")])
def test_without_surviving_heads_nothing_is_chosen(step, key):
    with pytest.raises(NothingChosenError, match="none of 16 heads has an effect beyond chance"):
        chosen(step, key, with_heads())


def test_other_tasks_than_ioi_have_other_labels_references_and_contrasts():
    own = with_heads("2.0", is_ioi=False, labels=("BOS", "first", "END"))
    assert chosen("attention", "keys", own).value == ["first"]
    assert chosen("attention", "keys", with_heads(labels=("BOS", "END"))).value == ["BOS", "END"]
    assert chosen("sufficiency", "reference", own).value == "corrupted"
    assert chosen("steering", "contrast", own).value == "clean_corrupt"
    assert chosen("sufficiency", "reference", with_heads("2.0")).value == "abc"
    assert chosen("steering", "contrast", with_heads("2.0")).value == "name_pair"


def test_a_rule_is_used_only_if_the_user_has_left_the_key_to_it():
    step = BY_NAME["attention"]
    assert set(step.rules_of({"heads": CHOSEN, "keys": CHOSEN})) == {"heads", "keys"}
    assert set(step.rules_of({"heads": ["9.9"], "keys": CHOSEN})) == {"keys"}


def test_steps_need_only_earlier_steps():
    for place, step in enumerate(STEPS):
        earlier = {each.name for each in STEPS[:place]}
        assert {rule.needs for rule in step.rules.values()} <= earlier | {None}
