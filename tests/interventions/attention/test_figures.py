"""The figures of attention show the values of the result, of the heads and layers that it names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.interventions.attention.figures import attention_figures
from ioi_lab.interventions.attention.measure import AttentionResult, Comparison, Shown
from ioi_lab.interventions.attention.ranked_heads import RankedHeads
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.self_checks import SelfChecks
from ioi_lab.stats.bootstrap import Estimate
from tests.interventions.toy import CONTEXT, PAIR, ToyEngine

MEANS = np.array([[0.5, 0.25, 0.0], [1.0, 0.75, 0.125]])
TOKENS = ["<bos>", " John", " to"]


@pytest.fixture
def result():
    values = MEANS.ravel()
    ranking = [(1, 0), (1, 1), (0, 0), (0, 1), (1, 2), (0, 2)]
    patterns = np.zeros((2, 3, 3, 3))
    patterns[:] = [[1, 0, 0], [0.5, 0.5, 0], [0.25, 0.746, 0.004]]
    patterns[1, 2] = np.eye(3)
    return AttentionResult(
        baselines=Baselines.measure(ToyEngine()),
        checks=SelfChecks(1.0, 0.0),
        which="clean",
        query="END",
        keys=["S1+1", -2],
        weights={"S1+1": Estimate(values, values, values), "-2": Estimate(values, values, values)},
        means=MEANS,
        ranking=ranking,
        leading=ranking[:2],
        shown=Shown(PAIR, "the text", TOKENS, patterns),
        drawn=[(1, 2), (0, 0)],
        pages=[1],
        comparison=None,
    )


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_there_is_a_map_a_page_per_layer_and_a_figure_per_head(result):
    names = ["attention_to_S1_plus_1", "patterns_layer_01", "pattern_1_2", "pattern_0_0"]
    assert list(attention_figures(result, CONTEXT)) == names
    assert list(attention_figures(replace(result, pages=[], drawn=[]), CONTEXT)) == names[:1]
    assert list(attention_figures(replace(result, pages=[0, 1], drawn=[]), CONTEXT)) == [
        "attention_to_S1_plus_1", "patterns_layer_00", "patterns_layer_01",
    ]  # fmt: skip


def test_a_negative_key_can_be_the_name_of_a_file(result):
    assert "attention_to_minus_2" in attention_figures(replace(result, keys=[-2]), CONTEXT)


def test_the_map_has_the_means_of_all_heads(result):
    figure = attention_figures(result, CONTEXT)["attention_to_S1_plus_1"]
    ax, bar = figure.axes
    assert ax.images[0].get_array().tolist() == MEANS.tolist()
    assert texts(ax) == ["0.50", "0.25", "0.00", "1.00", "0.75", "0.12"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("head", "layer")
    assert " ".join(bar.get_ylabel().split()) == "attention weight, mean over prompts"
    title = "Attention from END to S1+1, clean prompts\ntoy, toy task, 4 prompts"
    assert figure.get_suptitle() == title


def test_a_page_has_a_panel_per_head(result):
    figure = attention_figures(result, CONTEXT)["patterns_layer_01"]
    *panels, _ = figure.axes
    assert [ax.get_title() for ax in panels] == ["1.0", "1.1", "1.2"]
    for head, ax in enumerate(panels):
        assert ax.images[0].get_array().tolist() == result.shown.patterns[1, head].tolist()
    assert [tick.get_text() for tick in panels[0].get_xticklabels()] == ["<bos>", "John", "to"]
    assert figure.get_suptitle() == "Attention patterns of layer 1, toy\nclean prompt 'the text'"


@pytest.mark.parametrize(("n_heads", "columns"), [(3, 3), (4, 4), (5, 3), (12, 4)])
def test_a_few_heads_stand_in_one_row_and_more_in_a_square(result, n_heads, columns):
    patterns = np.repeat(result.shown.patterns[:, :1], n_heads, axis=1)
    many = replace(result, shown=replace(result.shown, patterns=patterns), drawn=[])
    axes = attention_figures(many, CONTEXT)["patterns_layer_01"].axes
    assert axes[0].get_subplotspec().get_gridspec().ncols == columns


def test_one_head_has_numbers_that_are_not_0(result):
    figure = attention_figures(result, CONTEXT)["pattern_0_0"]
    ax = figure.axes[0]
    assert texts(ax) == ["1.00", "", "", "0.50", "0.50", "", "0.25", "0.75", ""]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("key", "query")
    assert figure.get_suptitle().startswith("Attention pattern of head 0.0, toy\nclean prompt")


def test_a_pattern_of_many_tokens_has_no_numbers(result):
    n = 26
    shown = replace(result.shown, tokens=["x"] * n, patterns=np.ones((2, 3, n, n)))
    ax = attention_figures(replace(result, shown=shown), CONTEXT)["pattern_1_2"].axes[0]
    assert texts(ax) == []


def test_attention_is_drawn_against_the_effects_that_were_measured(result):
    ranked = RankedHeads("patch z", {(1, 2): -0.5, (0, 0): 0.25})
    compared = replace(result, comparison=Comparison(ranked, [(1, 2), (0, 0)], 0, 2 / 3))
    figure = attention_figures(compared, CONTEXT)["attention_against_effect"]
    (ax,) = figure.axes
    assert ax.collections[0].get_offsets().tolist() == [[0.5, 0.25], [0.125, -0.5]]
    assert set(texts(ax)) == {"0.0", "1.2"}
    assert ax.get_xlabel() == "attention from END to S1+1"
    assert figure.get_suptitle().splitlines()[1] == "against patch z"
