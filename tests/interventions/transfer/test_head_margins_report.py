"""The phrases, columns and figure of the controls follow the result."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ioi_lab.interventions.transfer.head_margins_report import MarginReport
from ioi_lab.models.heads import head_name


def report(grid):
    return MarginReport(grid, ("tiny-gpt2", "tiny-pythia"), "Heads")


def test_each_control_has_its_difference(heads):
    grid = heads[1].grid
    texts = report(grid).differences(0)
    names = [name for name in grid.margins.margins if name != "mean"]
    assert len(texts) == len(names) == 5
    for name, text in zip(names, texts, strict=True):
        assert f"{grid.margins.margins[name].value[0]:.3f}" in text


def test_it_is_said_if_the_place_is_not_shown_to_matter_to_the_heads_own_output(heads):
    grid = heads[1].grid
    own = grid.margins.own_above_other_layers
    for low, blind in ((-0.1, True), (0.1, False)):
        margins = replace(grid.margins, own_above_other_layers=replace(own, low=np.full(len(own.low), low)))
        text = report(replace(grid, margins=margins)).differences(0)[-1]
        assert ("the place is not shown to matter" in text) == blind


def test_heads_without_effect_are_named_with_the_largest_effect(heads):
    grid = heads[1].grid
    text = report(grid).without_effect()
    assert all(head_name(head) in text for head in grid.margins.idle.of_source)
    assert f"{grid.margins.idle.largest[0]:.2g}" in text
    nothing = replace(grid.margins.idle, of_source=[], places={head: [] for head in grid.replaced})
    assert report(replace(grid, margins=replace(grid.margins, idle=nothing))).without_effect().endswith("none")


def test_columns_and_metrics_have_the_differences(heads):
    grid = heads[1].grid
    for row in range(len(grid.replaced)):
        columns, metrics = report(grid).columns(row), report(grid).metrics(row)
        for name, margin in grid.margins.margins.items():
            assert columns[f"above_{name}"] == margin.value[row]
            if name != "mean":
                assert metrics[f"best_pair_above_{name}"] == pytest.approx(margin.value[row])
        assert columns["other_layers"].split() == list(map(head_name, grid.margins.idle.places[grid.replaced[row]]))
        assert columns["comes_over"] == (row in grid.come_over)


def test_the_figure_has_the_levels_of_all_controls(heads):
    grid = heads[1].grid
    figure = report(grid).figure()
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    labels += [text.get_text() for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    assert {"the best head's image", "its image in other layers", "the same in other layers"} <= set(labels)
    drawn = {round(float(y), 6) for line in figure.axes[0].lines for y in np.ravel(line.get_ydata()) if np.isfinite(y)}
    drawn |= {
        round(float(y), 6) for container in figure.axes[0].containers for y in np.ravel(container.lines[0].get_ydata())
    }
    assert set(np.round(grid.of_best.value, 6)) <= drawn
    plt.close("all")
