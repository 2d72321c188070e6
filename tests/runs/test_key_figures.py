"""The figure of a sweep with too many combinations for panels."""

from __future__ import annotations

from ioi_lab.runs.axes import Axes
from ioi_lab.runs.key_figures import KeyFigure
from ioi_lab.runs.sweep_captions import caption_of
from ioi_lab.runs.sweeps import Sweep
from tests.reports.checks import check_sentences
from tests.runs.drawn import figure_of
from tests.runs.test_sweeps import grid

KEYS = {"layer": [0, 1], "head": [0, 1, 2], "method": ["a", "b", "c"], "position": ["S2", "END", "IO"], "seed": [0, 1]}


def keyed():
    whole = figure_of(Axes("layer"), KEYS, seeds=("seed",), row="site")
    return KeyFigure(**vars(whole))


def test_there_is_a_panel_per_key_and_seed_with_all_values():
    panels = [ax for ax in keyed().draw().axes if ax.get_visible()]
    assert [ax.get_xlabel() for ax in panels] == list(KEYS)
    assert {len(ax.collections[0].get_offsets()) for ax in panels} == {2 * 3 * 3 * 3 * 2}
    layers = [line for line in panels[0].lines if line.get_marker() == "_"]
    values = 0.5 + 0.01 * (54 / 2 - 0.5)  # the values of the rows rise by 0.01: those of layer 0 are the first half
    assert abs(layers[0].get_ydata()[0] - values) < 1e-9


def test_values_that_are_missing_are_left_out():
    figure = keyed()
    figure.measured.table.loc[figure.measured.table["method"] == "b", "value"] = float("nan")
    method = figure.draw().axes[2]
    assert [tick.get_text() for tick in method.get_xticklabels()] == ["a", "c"]


def test_the_caption_says_what_medians_do_not_show():
    caption = caption_of(keyed())
    check_sentences([caption])
    assert caption.startswith("Change in recovery from the unedited corrupted run by each key alone")
    assert "a dot is one site of one run" in caption
    assert "A key may matter for some values of another one only" in caption
    assert caption.endswith("From 108 runs of patch on tiny-gpt2, 16 prompts each; 1 other run did not finish.")


def test_a_sweep_with_more_combinations_than_panels_has_it_and_other_axes_can_be_asked_for(leave, tmp_path):
    keys = {key: values for key, values in KEYS.items() if key != "seed"}
    grid(leave, **keys, scale=[-1, 1])
    sweep = Sweep.read(tmp_path)
    assert list(sweep.captions) == ["best_recovery_by_each_key"]
    assert sweep.lines()[-1].endswith("a panel per key, as there are more than 16 combinations of them")
    ((_, figure),) = sweep.figures().items()
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_visible()] == [*keys, "scale"]
