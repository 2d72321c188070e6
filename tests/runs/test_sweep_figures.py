"""What the figures of a sweep say: labels, titles, pale cells."""

from __future__ import annotations

from ioi_lab.runs.axes import Axes
from tests.runs.drawn import figure_of


def test_the_axis_says_what_a_change_is_from_and_what_it_is_the_best_of():
    one = figure_of(Axes("layer"), {"layer": [0, 1]})
    assert one.value_label == "change in recovery from the unedited corrupted run"
    best = figure_of(Axes("layer"), {"layer": [0, 1]}, of="each run's best of 4 sites", metric="best_recovery")
    assert best.value_label == "change in recovery (each run's best of 4 sites) from the unedited corrupted run"
    level = figure_of(Axes("layer"), {"layer": [0, 1]}, unedited=(), metric="forward_best_r2")
    assert level.value_label == "forward best R²"
    several = figure_of(Axes("layer"), {"layer": [0, 1]}, unedited=("one", "other"))
    assert several.value_label.endswith("from the unedited run")


def test_the_title_says_what_intervals_are_and_which_runs_are_missing():
    drawn = figure_of(Axes("layer", "method"), {"layer": [0, 1], "method": ["a", "b"]}, fixed=["component = z"])
    assert drawn.name == "recovery_by_layer_method"
    assert drawn.draw().get_suptitle().splitlines() == [
        "recovery · patch · tiny-gpt2 · component = z",
        "patch: 4 runs, 1 missing",
        "95 % intervals over prompts",
    ]


def test_categories_are_points_that_no_line_joins():
    figure = figure_of(Axes("method", "model"), {"method": ["a", "b"], "model": ["m", "n"]}).draw()
    one, other = figure.axes[0].lines[1:]
    assert (one.get_linestyle(), other.get_linestyle()) == ("None", "None")
    assert one.get_xdata()[0] < 0 < other.get_xdata()[0]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["a", "b"]


def test_maps_have_a_panel_per_case():
    keys = {"layer": [0, 1], "head": [0, 1, 2], "position": ["S2", "END"]}
    drawn = figure_of(Axes("head", "layer", ("position",), is_map=True), keys)
    assert drawn.name == "recovery_by_layer_head_position"
    maps = [ax for ax in drawn.draw().axes if ax.images]
    assert [ax.get_title() for ax in maps] == ["position = S2", "position = END"]
    assert maps[0].images[0].get_array().shape == (2, 3)
