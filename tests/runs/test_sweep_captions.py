"""What the captions of a sweep's figures say, compared with what the figures show."""

from __future__ import annotations

import pytest

from ioi_lab.runs.axes import Axes
from ioi_lab.runs.sweep_captions import caption_of
from tests.reports.checks import check_sentences
from tests.runs.drawn import figure_of

SCALES = {"scale": [-2.0, -1.0, 1.0, 2.0], "layer": [0, 1, 2]}
UNSTEERED = ("the unsteered clean run",)


def test_lines_are_described_by_axes_marks_and_source():
    figure = figure_of(Axes("scale", "layer"), SCALES, UNSTEERED, metric="logit_diff", row="site")
    assert caption_of(figure) == (
        "Change in logit difference from the unsteered clean run along scale, with a line per layer (the lighter, the "
        "larger). A point is one site of one run; vertical lines are 95 % intervals over prompts; the dashed line is "
        "no edit, which is the value at scale 0 as well. From 12 runs of patch on tiny-gpt2, 16 prompts each; 1 other "
        "run did not finish."
    )


@pytest.mark.parametrize("n_places", [5, 6])
def test_intervals_are_described_as_they_are_drawn(n_places):
    figure = figure_of(Axes("layer"), {"layer": list(range(n_places))})
    shapes = {type(shape).__name__ for shape in figure.draw().axes[0].collections}
    is_band = "FillBetweenPolyCollection" in shapes or "PolyCollection" in shapes
    assert ("bands are 95 %" in caption_of(figure)) == is_band
    assert ("vertical lines are 95 %" in caption_of(figure)) != is_band


def test_seeds_are_described_as_what_is_averaged():
    figure = figure_of(Axes("method"), {"method": ["a", "b"], "seed": [0, 1, 2]}, seeds=("seed",))
    assert (
        "A point is the mean over 3 values of seed (small dots), each of which is the value of one run; vertical lines "
        "are Student's 95 % intervals of these means"
    ) in caption_of(figure)


def test_bests_are_not_called_sites():
    figure = figure_of(
        Axes("method", "model"), {"method": ["a", "b"], "model": ["m", "n"]}, of="each run's best of 4 sites"
    )
    caption = caption_of(figure)
    assert "for each method, with a colour per model." in caption
    assert "A point is the best of 4 sites in a run, which need not be the same in all runs" in caption


def test_maps_are_described_by_their_colours_and_what_is_pale_in_them():
    keys = {"layer": [0, 1], "head": [0, 1, 2], "position": ["S2", "END"], "component": ["z"]}
    axes = Axes("head", "layer", ("position", "component"), is_map=True)
    caption = caption_of(figure_of(axes, keys, row="site", fixed=["method = pca"]))
    assert caption.startswith(
        "Change in recovery from the unedited corrupted run by layer (rows) and head (columns), with a map per "
        "combination of position and component. A cell is one site of one run; blue is above 0, red below 0, and white "
        "is 0. From 12 runs of patch on tiny-gpt2, method = pca"
    )
    figure = figure_of(Axes("head", "layer", is_map=True), {"layer": [0, 1], "head": [0, 1]})
    figure.measured.table.loc[0, ["low", "high"]] = -1.0, 1.0
    assert "what is pale, without a number, has an interval that includes the value without effect" in caption_of(
        figure
    )
    figure = figure_of(Axes("head", "layer", is_map=True), {"layer": [0, 1], "head": [0, 1]})
    figure.measured.table.drop(index=0, inplace=True)
    assert "what is blank has not been measured" in caption_of(figure)


@pytest.mark.parametrize("of", ["", "each run's best", "each run's best of 4 to 16 sites"])
@pytest.mark.parametrize("unedited", [(), UNSTEERED, ("one", "other")])
@pytest.mark.parametrize("axes", [Axes("layer"), Axes("scale", "layer"), Axes("layer", "scale", is_map=True),
                                  Axes("scale", None, ("layer",))])  # fmt: skip
def test_every_caption_is_made_of_whole_sentences(axes, unedited, of):
    for keys in (SCALES, {"scale": ["few", "many"], "layer": ["first", "last"]}):
        caption = caption_of(figure_of(axes, keys, unedited, of))
        check_sentences([caption])
        assert 1 <= caption.count(". ") + 1 <= 3
