"""Which steps a study has, the configs of their runs, and the lines for mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ioi_lab.errors import LabError
from ioi_lab.studies.config import StudyRules, config_of_step, draws_prompts, steps_of
from ioi_lab.studies.steps import CHOSEN, STEPS
from tests.studies.conftest import config_of, study_of

BY_NAME = {step.name: step for step in STEPS}


@pytest.fixture(scope="module")
def config():
    return config_of("seed=3", "task.n=5", "++steps.knockout.task.n=7")


def names(config, *, has_source=False, **rules) -> list[str]:
    return [step.name for step in steps_of(StudyRules(**rules), config["steps"], has_source=has_source)]


def test_all_steps_are_run_but_those_of_a_second_model(config):
    assert names(config, has_source=True) == list(BY_NAME)
    assert names(config) == [name for name in BY_NAME if name not in ("align", "transfer")]
    assert names(config, steps=["heads", "baseline"]) == ["baseline", "heads"]
    assert "heads" not in names(config, skip=["heads"])


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        ({"steps": ["hads"]}, r"^study\.steps: got 'hads' \(did you mean heads\?\), expected some of baseline, heads"),
        ({"skip": ["len"]}, r"^study\.skip: got 'len' \(did you mean lens\?\)"),
        ({"steps": ["attention"]}, r"^study\.steps: attention takes its heads from the step heads, which is not run"),
        ({"steps": ["transfer"]}, r"^study\.steps: transfer needs a second model; add one with source="),
        ({"steps": ["heads"], "skip": ["heads"]}, r"^study\.skip: got \['heads'\], which leaves no step to run"),
    ],
)
def test_mistakes_are_one_line(config, rules, line):
    with pytest.raises(LabError, match=line):
        names(config, **rules)


def test_a_value_instead_of_a_chosen_one_needs_no_earlier_step():
    config = config_of("steps.attention.intervention.heads=['2.0']")
    assert names(config, steps=["attention"]) == ["attention"]


def test_the_config_of_a_step_is_that_of_a_run(config):
    made = config_of_step(BY_NAME["attention"], config, {"heads": ["2.0"], "keys": ["IO"]}, Path())
    assert made["intervention"]["heads"] == ["2.0"]
    assert made["task"]["n"] == 5
    assert made["task"]["seed"] == 4
    assert CHOSEN not in repr(made)
    assert config_of_step(BY_NAME["heads"], config, {}, Path())["task"]["seed"] == 3
    assert config_of_step(BY_NAME["knockout"], config, {}, Path())["task"]["n"] == 7


def test_prompts_of_a_file_have_no_other_seed(config):
    assert draws_prompts({"seed": 0, "prompt": None})
    assert not draws_prompts({"seed": 0, "prompt": "When Mary and John"})
    assert not draws_prompts({"path": "own.csv"})
    own = {**config, "task": {"path": "own.csv"}}
    assert "seed" not in config_of_step(BY_NAME["attention"], own, {}, Path())["task"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("steps.lens.intervention.top_k=0", r"^steps\.lens\.intervention\.top_k: got 0"),
        ("++steps.lens.task.m=3", r"^steps\.lens\.task\.m: no such key"),
        ("steps.steering.intervention.contrast=foo", r"^steps\.steering\.intervention\.contrast: got 'foo'"),
        ("study.max_heads=0", r"^study\.max_heads: got 0"),
        ("task.n=0", r"^task\.n: got 0"),
    ],
)
def test_a_mistake_in_a_step_names_the_key_as_it_was_typed(override, line):
    with pytest.raises(LabError, match=line):
        study_of(override)
