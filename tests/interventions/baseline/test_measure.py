"""Whether the model does the task is decided by whole intervals, for models that do it and models that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.baseline.measure import groups_of, measure_baseline
from ioi_lab.models.loading import load_model
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config


@pytest.fixture(scope="module")
def tiny_gpt2():
    return load_model(model_config(tiny_folder("tiny-gpt2")))


@pytest.fixture(scope="module")
def prompts(tiny_gpt2):
    return ioi_task(n=32).prompt_pairs(tiny_gpt2.tokens)


@pytest.fixture(scope="module")
def result(tiny_gpt2, prompts):
    return measure_baseline(Engine(tiny_gpt2, prompts))


def test_a_trained_model_does_the_task(result):
    clean = result.baselines.clean
    assert result.does_task
    assert result.logit_diff.value[0] == pytest.approx(clean.logit_diff.mean())
    for row, group in enumerate(result.groups):
        assert result.accuracy.value[row] == pytest.approx((clean.logit_diff[0, list(group.rows)] > 0).mean())
    assert (result.checks.everything, result.checks.nothing) == (pytest.approx(1), pytest.approx(0))


def test_each_prompt_is_in_one_group_of_each_kind(result, prompts):
    assert result.groups[0].by == "all"
    for by in ("sentence", "order"):
        rows = [row for group in result.groups if group.by == by for row in group.rows]
        assert sorted(rows) == list(range(len(prompts)))
    assert len(groups_of(PromptPairs([prompts[0]] * 3))) == 1


def test_on_reversed_answers_the_model_does_not_do_the_task(tiny_gpt2, prompts):
    reversed_pairs = [
        replace(
            pair,
            answers=pair.distractors,
            distractors=pair.answers,
            answer_ids=pair.distractor_ids,
            distractor_ids=pair.answer_ids,
        )
        for pair in prompts
    ]
    assert not measure_baseline(Engine(tiny_gpt2, PromptPairs(reversed_pairs))).does_task


def test_without_a_difference_between_the_passes_there_is_a_result_without_self_checks(tiny_gpt2, prompts):
    same = [replace(pair, corrupted=pair.clean, corrupted_tokens=pair.clean_tokens) for pair in prompts]
    result = measure_baseline(Engine(tiny_gpt2, PromptPairs(same)))
    assert result.does_task
    assert result.checks.metrics() == {}


@pytest.mark.parametrize(("low", "expected"), [(0.49, False), (0.51, True), (np.nan, False)])
def test_the_whole_interval_is_above_chance(result, low, expected):
    part = replace(result, accuracy=Estimate(np.array([0.9]), np.array([low]), np.array([1.0])))
    assert part.does_task is expected
    assert part.is_known is not np.isnan(low)
