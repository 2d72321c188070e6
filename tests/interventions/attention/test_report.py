"""The report of attention reads the fields of its result: table, metrics, lines, figures and page agree with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.attention.figures import attention_figures
from ioi_lab.interventions.attention.measure import Comparison, measure_attention
from ioi_lab.interventions.attention.ranked_heads import RankedHeads
from ioi_lab.interventions.attention.report import attention_report
from ioi_lab.models.loading import load_model
from ioi_lab.reports.report import ReportContext
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config

CONTEXT = ReportContext("a model", "a task")


@pytest.fixture(scope="module")
def result():
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    engine = Engine(model, ioi_task(n=8).prompt_pairs(model.tokens))
    return measure_attention(
        engine, "corrupted", "END", ["S1+1", "IO"], layer=[2], heads="strongest", k=2, from_run=None, prompt=0
    )


@pytest.fixture(scope="module")
def compared(result):
    ranked = RankedHeads("patch z", {(0, 1): 0.5, (1, 1): -0.25})
    return replace(result, comparison=Comparison(ranked, [(0, 1), (1, 1)], overlap=1, overlap_by_chance=0.25))


def test_the_table_has_a_row_per_head(result):
    table = attention_report(result, CONTEXT).table
    assert len(table) == 16
    assert set(table["run"]) == {"corrupted"}
    for row in (0, 7, 15):
        assert result.row((table["layer"][row], table["head"][row])) == row
        assert table["to_S1+1_low"][row] == pytest.approx(result.weights["S1+1"].low[row])
        assert table["to_elsewhere"][row] == pytest.approx(result.weights["elsewhere"].value[row])


def test_metrics_are_those_of_the_leading_head(result, compared):
    metrics = attention_report(result, CONTEXT).metrics
    assert (metrics["best_layer"], metrics["best_head"]) == result.leading[0]
    assert metrics["best_to_IO"] == result.weights["IO"].value[result.row(result.leading[0])]
    assert metrics["n_heads"] == 16
    assert "overlap" not in metrics
    metrics = attention_report(compared, CONTEXT).metrics
    assert (metrics["k"], metrics["overlap"], metrics["overlap_by_chance"]) == (2, 1, 0.25)


def test_the_summary_lists_heads_and_the_comparison(compared):
    lines = attention_report(compared, CONTEXT).summary
    assert lines[0] == ("heads by attention from END to S1+1, mean over corrupted prompts (a ranking without a test):")
    assert [line.split()[0] for line in lines[2:7]] == [f"{layer}.{head}" for layer, head in compared.ranking[:5]]
    weights = [f"{head} ({compared.means[layer, index]:.2f})" for head, layer, index in (("0.1", 0, 1), ("1.1", 1, 1))]
    start = "the 2 heads with the largest effect in patch z"
    assert lines[7] == f"{start}, without tests there, with this attention: {', '.join(weights)}"
    ranked = replace(compared.comparison.ranked, found=frozenset({(1, 1), (3, 3)}))
    tested = replace(compared, comparison=replace(compared.comparison, ranked=ranked))
    line = attention_report(tested, CONTEXT).summary[7]
    assert line.startswith(f"{start}, 1 of them distinguishable from 0 there, with this attention: ")
    assert lines[8] == "1 of them are among the 2 that attend most to S1+1 (0.25 by chance)"


def test_figures_and_page_show_the_prompt_and_the_heads(result, compared):
    figures = attention_figures(compared, CONTEXT)
    drawn = [f"pattern_{layer}_{head}" for layer, head in result.drawn]
    assert list(figures) == ["attention_to_S1_plus_1", "patterns_layer_02", *drawn, "attention_against_effect"]
    assert "attention_against_effect" not in attention_figures(result, CONTEXT)
    title = " ".join(figures["patterns_layer_02"].get_suptitle().split())
    assert title.startswith("Attention patterns of layer 2, a model corrupted prompt ")
    page = attention_report(result, CONTEXT).files["attention.html"].decode()
    layer, head = result.drawn[0]
    assert f'"start":[{layer},{head}]' in page
    assert "Attention patterns of a model\\ncorrupted prompt" in page
