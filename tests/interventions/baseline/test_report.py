"""The report of a baseline says whether the model does the task, with its numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.baseline.measure import measure_baseline
from ioi_lab.interventions.baseline.report import report_baseline, verdict
from ioi_lab.models.loading import load_model
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config
from tests.interventions.toy import CONTEXT


@pytest.fixture(scope="module")
def result():
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    return measure_baseline(Engine(model, ioi_task(n=16).prompt_pairs(model.tokens)))


def test_the_table_has_a_row_per_group_and_the_metrics_are_those_of_all_prompts(result):
    report = report_baseline(result, CONTEXT)
    assert report.table["group"].tolist() == [group.name for group in result.groups]
    assert report.table["n_prompts"].iloc[0] == 16
    assert report.metrics["clean_accuracy"] == report.table["accuracy"].iloc[0]
    assert report.metrics["does_task"] == 1


@pytest.mark.parametrize(
    ("low", "start"),
    [(0.8, "the model does the task"), (0.4, "the model is not shown"), (np.nan, "fewer than 8 prompts")],
)
def test_the_verdict_states_what_the_interval_allows(result, low, start):
    bounded = replace(result, accuracy=Estimate(np.array([0.9]), np.array([low]), np.array([1.0])))
    line = verdict(bounded)
    assert line.startswith(start)
    assert "0.90" in line


def test_accuracy_is_drawn_by_group(result):
    figures = report_baseline(result, CONTEXT).draw()
    assert set(figures) == {"logit_differences", "accuracy_by_group"}
    names = [tick.get_text() for tick in figures["accuracy_by_group"].axes[0].get_yticklabels()]
    assert names[0] == "n=16: all prompts"
    first = slice(0, 1)
    alone = replace(
        result,
        groups=result.groups[first],
        logit_diff=result.logit_diff.rows(first),
        accuracy=result.accuracy.rows(first),
    )
    assert set(report_baseline(alone, CONTEXT).draw()) == {"logit_differences"}
