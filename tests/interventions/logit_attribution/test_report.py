"""The report of logit attribution reads the fields of its result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.logit_attribution.measure import (
    LogitAttributionResult,
    measure_logit_attribution,
    terms_of,
)
from ioi_lab.interventions.logit_attribution.report import report_logit_attribution, term_name
from ioi_lab.interventions.self_checks import SelfChecks
from ioi_lab.reports.report import ReportContext
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import Discoveries
from tests.conftest import ioi_task
from tests.interventions.toy import CONTEXT, SHAPE, ToyEngine

EFFECTS = [0.5, -0.25, 2.0, 0.0, 0.125, -1.0, 0.75, -3.0, 0.0625, 0.03125, -4.0, 0.1]
"""Values of the toy model's terms, in the order of the forward pass."""


@pytest.fixture(scope="module")
def result():
    terms, values = terms_of(SHAPE.n_layers, SHAPE.n_heads), np.array(EFFECTS)
    heads = [row for row, term in enumerate(terms) if term.head is not None]

    def estimate(values):
        return Estimate(values, values - 0.5, values + 0.5)

    return LogitAttributionResult(
        baselines=Baselines.measure(ToyEngine()),
        checks=SelfChecks(1.0, 0.0),
        which="corrupted",
        terms=terms,
        direct_effect=estimate(values),
        on_answer=estimate(2 * values),
        on_distractor=estimate(values + 0.0),
        discoveries=Discoveries(np.zeros(len(values)), np.zeros(len(values)), np.abs(values) >= 0.5, None),
        head_rows=np.array(heads).reshape(SHAPE.n_layers, SHAPE.n_heads),
        ranking=np.argsort(-np.abs(values), kind="stable").tolist(),
        strongest_head=7,
        logit_diff=-5.125,
        logit_cap=None,
        sum_of_terms=-5.25,
        error=2.5e-5,
    )


def test_the_table_has_a_row_per_term(result):
    table = report_logit_attribution(result, CONTEXT).table
    assert table["component"].tolist() == [term.component for term in result.terms]
    assert (table["position"] == "END").all()
    head = table.iloc[7]
    assert (head["component"], head["layer"], head["head"]) == ("z", 1, 1)
    assert (head["direct_effect"], head["direct_effect_low"], head["on_answer"]) == (-3.0, -3.5, -6.0)
    assert table.iloc[0][["layer", "head"]].isna().all()


def test_metrics_are_those_of_the_strongest_head(result):
    metrics = report_logit_attribution(result, CONTEXT).metrics
    assert (metrics["best_row"], metrics["best_layer"], metrics["best_head"]) == (7, 1, 1)
    assert metrics["best_direct_effect"] == -3.0
    assert (metrics["best_direct_effect_low"], metrics["best_direct_effect_high"]) == (-3.5, -2.5)
    assert (metrics["n_terms"], metrics["sum_of_terms"], metrics["check_sum_error"]) == (12, -5.25, 2.5e-5)
    assert metrics["n_prompts"] == 4


def test_the_summary_lists_the_largest_terms_by_size(result):
    first, *terms, found, last = report_logit_attribution(result, CONTEXT).summary
    assert first == "largest direct effects on the logit difference of -5.12, corrupted prompts:"
    assert [line.strip().split("  ")[0] for line in terms] == [
        "MLP 1", "1.1", "0.1", "MLP 0", "1.0", "embedding",
    ]  # fmt: skip
    assert found == "6 of 12 terms are distinguishable from 0 (t-test over prompts, Benjamini–Hochberg at 5 %)"
    assert terms[1].split() == ["1.1", "-3.000", "[-3.500,", "-2.500]"]
    assert last == "all 12 terms add up to it within 2.5e-05"


def test_a_cap_is_named_wherever_effects_are(result):
    report = report_logit_attribution(replace(result, logit_cap=30.0), CONTEXT)
    assert report.summary[0] == (
        "largest direct effects on the logit difference of -5.12 before the cap of ±30, corrupted prompts:"
    )
    assert report.metrics["logit_cap"] == 30
    assert "logit_cap" not in report_logit_attribution(result, CONTEXT).metrics
    figures = report.draw()
    assert "before the cap" in figures["top_terms"].axes[0].get_xlabel()
    assert any("before the cap" in axes.get_ylabel() for axes in figures["direct_effect_by_head"].axes)


def test_without_intervals_none_are_printed_nor_drawn(result):
    unknown = np.full(len(EFFECTS), np.nan)
    alone = replace(
        result,
        direct_effect=Estimate(result.direct_effect.value, unknown, unknown),
        discoveries=Discoveries(unknown, unknown, np.zeros(len(EFFECTS), dtype=bool), None),
    )
    report = report_logit_attribution(alone, CONTEXT)
    assert "each of which may be chance" in report.summary[0]
    assert not any("[" in line for line in report.summary)
    assert "best_direct_effect_low" not in report.metrics
    assert "95 %" not in report.draw()["top_terms"].axes[0].get_xlabel()


def test_the_map_has_the_heads_and_the_bars_have_all_terms(result):
    figures = report_logit_attribution(result, CONTEXT).draw()
    assert list(figures) == ["direct_effect_by_head", "top_terms"]
    cells, bars = figures["direct_effect_by_head"].axes[0], figures["top_terms"].axes[0]
    assert cells.images[0].get_array().tolist() == result.direct_effect.value[result.head_rows].tolist()
    found = result.discoveries.found
    assert (cells.images[0].get_alpha() < 0.5).tolist() == (~found[result.head_rows]).tolist()
    assert [bar.get_alpha() or bar.get_facecolor()[3] for bar in bars.patches] == [
        1.0 if found[row] else pytest.approx(0.3) for row in result.ranking
    ]
    assert (cells.get_xlabel(), cells.get_ylabel()) == ("head", "layer")
    assert [bar.get_width() for bar in bars.patches] == [EFFECTS[row] for row in result.ranking]
    assert [label.get_text() for label in bars.get_yticklabels()][:2] == ["MLP 1", "1.1"]
    for figure in figures.values():
        assert "Direct logit attribution, corrupted prompts" in figure.get_suptitle()
        assert "toy, toy task, 4 prompts" in figure.get_suptitle()


def test_table_metrics_and_sentences_say_the_same(model):
    result = measure_logit_attribution(Engine(model, ioi_task(n=16).prompt_pairs(model.tokens)), "clean")
    report = report_logit_attribution(result, ReportContext("a model", "a task"))
    largest, shown = result.ranking[0], result.top[:8]
    table, bars = report.table["direct_effect"], report.draw()["top_terms"].axes[0]
    lines = [line.strip().split("  ") for line in report.summary[1 : 1 + len(shown)]]
    values = [float(" ".join(rest).split()[0]) for _, *rest in lines]
    assert values == pytest.approx([round(table[row], 3) for row in shown])
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert [name for name, *_ in lines] == [names[result.ranking.index(row)] for row in shown]
    assert report.metrics["best_direct_effect"] == table[report.metrics["best_row"]]
    assert bars.patches[0].get_width() == table[largest]


def test_terms_are_named_in_the_order_of_the_forward_pass():
    assert [term_name(term) for term in terms_of(2, 2)] == [
        "embedding",
        *("0.0", "0.1", "attention bias 0", "MLP 0"),
        *("1.0", "1.1", "attention bias 1", "MLP 1"),
        "constant",
    ]
