"""Random sets of heads as the control of a chosen set."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.random_sets import FILE, RandomSets
from ioi_lab.models.loading import load_model
from ioi_lab.reports.report import ReportContext
from ioi_lab.stats.bootstrap import Estimate
from tests.conftest import ioi_task, model_config
from tests.interventions.test_ablate import ablate

SETS = RandomSets(
    are_kept=True,
    labels=["0.0", "0.1", "1.0", "1.1"],
    estimates={"logit_diff": Estimate(np.array([1.0, 4.0, 2.0, 9.0]), np.full(4, np.nan), np.full(4, np.nan))},
    of=[0, 0, 0, 1],
    distance=np.array([4.0, 1.0, 3.0, 2.0]),
    chosen=np.array([2.0, 0.5]),
)


@pytest.fixture(scope="module")
def engine(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    return Engine(model, ioi_task(n=8).prompt_pairs(model.tokens))


def knockout(**changes):
    return ablate(layer="all", position="all", **{"head": ["2.0", "3.1"], "sets": "except", "random_sets": 5} | changes)


def test_sets_that_are_kept_do_as_well_if_they_stay_as_near():
    assert (SETS.n_as_good(0), SETS.n_as_good(1)) == (1, 0)
    assert (SETS.p_value(0), SETS.p_value(1)) == (2 / 4, 1 / 2)


def test_sets_that_are_edited_do_as_well_if_they_go_as_far():
    edited = replace(SETS, are_kept=False)
    assert (edited.n_as_good(0), edited.n_as_good(1)) == (2, 1)


def test_a_row_without_random_sets_is_compared_with_nothing():
    assert SETS.metrics(2) == {}
    assert SETS.metrics(0)["random_sets_logit_diff_median"] == 2.0


@pytest.mark.parametrize("sets", ["except", "together"])
def test_random_sets_are_edited_as_the_chosen_one_is(engine, sets):
    """Each gives what it gives as the chosen set of a run of its own."""
    random = knockout(sets=sets).measure(engine).random_sets
    assert len(random.labels) == 5
    for row in (0, 3):
        heads = random.labels[row].removeprefix("all but ").split()
        alone = knockout(sets=sets, head=heads, random_sets=0).measure(engine)
        assert alone.random_sets is None
        for name, estimate in alone.estimates.items():
            assert random.estimates[name].value[row] == pytest.approx(estimate.value[0], abs=1e-4), name


def test_they_have_as_many_heads_at_the_same_positions(engine):
    intervention = knockout(head=["2.0@END", "3.1@S2"])
    for _, row in intervention.random_rows(engine.shape, engine.prompts):
        placed = [name.partition("@")[2] for name in row.label.removeprefix("all but ").split()]
        assert sorted(placed) == ["END", "S2"]
    assert intervention.n_edit_sets(engine.shape, engine.prompts) == 6


def test_single_sites_and_components_without_heads_have_none(engine):
    alone = knockout(sets="each")
    assert alone.random_rows(engine.shape, engine.prompts) == []
    mlps = ablate(component="mlp_out", layer=[0, 1], head="all", sets="together", random_sets=5)
    assert mlps.random_rows(engine.shape, engine.prompts) == []


def test_the_report_compares(engine):
    intervention = knockout()
    result = intervention.measure(engine)
    report = intervention.report(result, ReportContext("tiny-gpt2", "ioi"))
    line = report.answer[1]
    n_as_good = result.random_sets.n_as_good(0)
    assert line.startswith("With 5 random sets of as many heads kept instead, the logit difference is from ")
    assert f"; {n_as_good} of them " in line
    assert report.metrics["n_random_sets_as_good"] == n_as_good
    assert any("permutation test" in limit for limit in report.limits)
    assert any(line[5:].removesuffix(".") in printed for printed in report.summary)
    table = pd.read_csv(io.BytesIO(report.files[FILE]))
    assert table["logit_diff"].to_list() == pytest.approx(result.random_sets.logit_diffs(0))
    assert set(table["compared_with"]) == {0}
