"""The figures of transferred vectors: they show the result, and null results as such."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.interventions.transfer.vector_figures import VectorFigures
from ioi_lab.reports.report import ReportContext
from tests.interventions.transfer.test_vector_summary import estimate, with_verdict


def figures(result):
    return VectorFigures(result, "through something", ReportContext("a model", "ioi (s2)")).all()


def words(figure):
    """The title and the notes of a figure, without line breaks."""
    return " ".join(f"{figure.get_suptitle()} {figure.get_supxlabel()}".split())


def outlines(figure):
    return [patch for patch in figure.axes[0].patches if not patch.get_fill()]


def test_the_curves_show_native_carried_and_controls(vectors):
    _, result, _ = vectors
    figure = figures(result)["effect_by_scale"]
    labels = [text.get_text() for legend in [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
              if legend is not None for text in legend.get_texts()]  # fmt: skip
    assert {"native", "carried", "carried at native norm", f"5 {result.drawn.noun}"} <= set(labels)
    assert ("mean shift" in labels) == (result.mean_shift is not None)


def test_the_carried_slope_is_next_to_those_of_its_controls(vectors):
    result = with_verdict(vectors[1], comes_over=True)
    ax = figures(result)["slopes_and_controls"].axes[0]
    names = [tick.get_text().replace("\n", " ") for tick in ax.get_yticklabels()]
    assert names[2:5] == ["native", "native at carried norm", f"5 {result.drawn.noun}"]
    controls = ["40 differences of training prompts", "40 other pairs of names", "another concept: answer position"]
    assert names[-3:] == controls
    share = result.slopes.share
    assert names[0].startswith(f"carried {100 * share.value[0]:.0f} [{100 * share.low[0]:.0f}, ")
    assert names[1].startswith("carried at native norm ")
    points = [collection.get_offsets()[:, 0] for collection in ax.collections]
    for kind, drawn in zip(result.slopes.unrelated, points[-3:-1], strict=True):
        assert np.asarray(drawn) == pytest.approx(kind.mean_slopes)
    assert np.asarray(points[-1]) == pytest.approx(result.slopes.mismatched.slope.value)


def test_a_null_result_is_pale_and_says_so(vectors):
    transferred, null = (figures(with_verdict(vectors[1], comes_over=comes_over)) for comes_over in (True, False))
    for name, figure in null.items():
        if name != "slopes_by_layers":
            assert "no transfer has been shown" in words(figure)
            assert "no transfer" not in words(transferred[name])
    assert "pale: not shown to exceed every kind of control" in words(null["slopes_and_controls"])
    assert "pale" not in words(transferred["slopes_and_controls"])
    assert (len(outlines(transferred["slopes_by_layers"])), len(outlines(null["slopes_by_layers"]))) == (1, 0)


def test_no_share_is_drawn_of_a_native_effect_that_is_not_there(vectors):
    result = with_verdict(vectors[1], comes_over=True)
    result = replace(result, slopes=replace(result.slopes, native=estimate(0.1, -0.1, 0.3)))
    ax = figures(result)["slopes_and_controls"].axes[0]
    assert not any("%" in tick.get_text() for tick in ax.get_yticklabels())


def test_intervals_say_what_they_are_over(vectors):
    assert "by 50 refits, over the training prompts" in words(figures(vectors[1])["slopes_and_controls"])
    unknown = replace(vectors[1].slopes, carried=estimate(1.0, np.nan, np.nan))
    assert "95 %" not in words(figures(replace(vectors[1], slopes=unknown))["slopes_and_controls"])


def test_slopes_that_are_not_found_are_pale(vectors):
    _, result, _ = vectors
    by_layers = result.by_layers
    nothing = np.ones_like(by_layers.carried, dtype=bool)
    figure = figures(replace(result, by_layers=replace(by_layers, carried_not_found=nothing)))["slopes_by_layers"]
    assert "pale, without number: not distinguishable from 0" in words(figure)
    written = len(figure.axes[0].texts)
    assert written == (~by_layers.native_not_found).sum()
