from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.interventions.wang2022.figures import figures_of
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("a model", "a task")


@pytest.fixture(scope="module")
def figures(result):
    return figures_of(result, CONTEXT)


def test_there_is_a_figure_per_experiment(figures, result):
    assert set(figures) == {
        "movement", "patterns", "paths_0", "paths_1", "circuit", "name_movers", "completeness", "minimality",
    }  # fmt: skip
    without = figures_of(replace(result, circuit=None), CONTEXT)
    assert set(figures) - set(without) == {"completeness", "minimality"}


def test_movements_have_a_point_per_prompt_and_name(figures, result):
    axes = figures["movement"].axes
    assert [ax.get_title() for ax in axes] == ["2.0", "3.1", "2.1"]
    for ax, movement in zip(axes, result.movements, strict=True):
        io, s = (points.get_offsets() for points in ax.collections)
        assert np.asarray(io[:, 0]) == pytest.approx(movement.to_io)
        assert np.asarray(s[:, 1]) == pytest.approx(movement.on_s)
    assert figures["movement"].get_suptitle().startswith("No name movers: the heads with the largest direct effects")


def test_complete_subsets_lie_on_the_line(figures, result):
    (ax,) = figures["completeness"].axes
    for points, kind in zip(ax.collections, ("class", "random", "greedy"), strict=True):
        sets = [each for each in result.circuit.completeness if each.kind == kind]
        expected = [[each.model.value[0], each.circuit.value[0]] for each in sets]
        assert np.asarray(points.get_offsets()) == pytest.approx(np.array(expected))
    assert [text.get_text() for text in ax.get_legend().get_texts()][-1] == "complete"


def test_minimality_has_a_bar_per_head_largest_first(figures, result):
    (ax,) = figures["minimality"].axes
    widths = [abs(bar.get_width()) for bar in ax.patches]
    assert len(widths) == len(result.circuit.heads)
    assert widths == sorted(widths, reverse=True)


def test_paths_say_what_mlps_do(figures):
    title = figures["paths_0"].get_suptitle().replace("\n", " ")
    assert "direct paths into the logits with free MLPs" in title
