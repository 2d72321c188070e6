from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from ioi_lab.reports import plots
from tests.reports.plots.helpers import HEADS, LAYERS, TOKENS, texts


def outlined(ax):
    return {(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in ax.patches if isinstance(patch, Rectangle)}


def test_heat_map_is_centred_labelled_and_outlined():
    values = np.array([[0.1, -0.8, 0.0], [0.001, 0.4, -0.001]])
    figure = plots.heat_maps({"": values}, LAYERS, HEADS, "title", "recovery", outlined=[(0, 1), (1, 1)])
    ax, bar = figure.axes
    assert ax.images[0].get_clim() == (-0.8, 0.8)
    assert texts(ax) == ["0.10", "−0.80", "0.00", "0.00", "0.40", "0.00"]
    assert outlined(ax) == {(1, 0), (1, 1)}
    assert (ax.get_xlabel(), ax.get_ylabel(), bar.get_ylabel()) == ("head", "layer", "recovery")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2"]


def test_cells_without_an_effect_are_pale_and_without_numbers():
    pale = np.array([[True, False, True], [True, False, True]])
    figure = plots.heat_maps({"": np.full((2, 3), 0.5)}, LAYERS, HEADS, "t", "s", pale={"": pale})
    (image,) = figure.axes[0].images
    assert (image.get_alpha() < 0.5).tolist() == pale.tolist()
    assert texts(figure.axes[0]) == ["0.50", "0.50"]


def test_the_colours_of_small_effects_end_at_the_floor():
    def limits(values, **options):
        return plots.heat_maps({"": values}, LAYERS, HEADS, "t", "s", **options).axes[0].images[0].get_clim()

    assert limits(np.full((2, 3), 0.01), floor=0.1) == (-0.1, 0.1)
    assert limits(np.full((2, 3), 0.2), floor=0.1) == (-0.2, 0.2)
    assert limits(np.full((2, 3), 0.2), floor=0.1, limit=0.05) == (-0.05, 0.05)


def test_panels_share_a_scale_and_hide_the_rest():
    panels = {f"p{i}": np.full((2, 3), float(i)) for i in range(5)}
    figure = plots.heat_maps(panels, LAYERS, HEADS, "t", "s")
    visible = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in visible] == list(panels)
    assert {ax.images[0].get_clim() for ax in visible} == {(-4.0, 4.0)}


def test_all_zero_values_have_a_scale():
    figure = plots.heat_maps({"": np.zeros((2, 3))}, LAYERS, HEADS, "t", "s")
    assert figure.axes[0].images[0].get_clim() == (-1.0, 1.0)


def test_large_maps_have_no_numbers():
    axis = plots.Axis("x", [str(i) for i in range(30)])
    figure = plots.heat_maps({"": np.ones((30, 30))}, axis, axis, "t", "s")
    assert texts(figure.axes[0]) == []


def test_a_limit_ends_the_colours_before_an_outlier():
    values = np.array([[40.0, -1.0, 0.0], [2.0, -2.0, 1.0]])
    figure = plots.heat_maps({"": values}, LAYERS, HEADS, "t", "s", limit=2.0, upward=True)
    assert figure.axes[0].images[0].get_clim() == (-2, 2)
    assert figure.axes[0].images[0].origin == "lower"
    assert figure.axes[0].images[0].colorbar.extend == "both"
    whole = plots.heat_maps({"": values}, LAYERS, HEADS, "t", "s")
    assert whole.axes[0].images[0].colorbar.extend == "neither"


def test_share_maps_share_a_scale_and_name_the_outer_axes():
    panels = [plots.Panel(str(i), np.full((2, 3), i / 3), LAYERS, TOKENS) for i in range(4)]
    figure = plots.share_maps(panels, "title", "probability", upward=True)
    *maps, bar = figure.axes
    assert {ax.images[0].get_clim() for ax in maps} == {(0, 1)}
    assert {ax.images[0].origin for ax in maps} == {"lower"}
    assert [len(ax.get_xticks()) for ax in maps] == [0, 0, 3, 3]
    assert [len(ax.get_yticks()) for ax in maps] == [2, 0, 2, 0]
    assert bar.get_ylabel() == "probability"


def test_share_maps_of_different_tokens_name_all_of_them():
    panels = [
        plots.Panel("clean", np.zeros((2, 3)), LAYERS, TOKENS),
        plots.Panel("corrupted", np.zeros((2, 3)), LAYERS, plots.Axis("position", ["a", "b", "c"])),
    ]
    figure = plots.share_maps(panels, "t", "s", per_row=1)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["<bos>", "$x$", "to"]
    assert [tick.get_text() for tick in figure.axes[1].get_xticklabels()] == ["a", "b", "c"]


def test_share_maps_on_a_logarithmic_scale():
    panel = plots.Panel("", np.array([[1.0, 1e-3, 0.0]]), plots.Axis("layer", ["0"]), TOKENS, [["a", "b", "c"]])
    figure = plots.share_maps([panel], "t", "s", floor=1e-6)
    image = figure.axes[0].images[0]
    assert image.get_clim() == (1e-6, 1)
    assert image.norm(np.array([1.0, 1e-3, 0.0])).tolist() == pytest.approx([1, 0.5, 0])
    assert texts(figure.axes[0]) == ["a", "b", "c"]
    assert plots.png(figure).startswith(b"\x89PNG")


def test_a_map_of_a_long_prompt_stays_of_a_size_that_can_be_drawn():
    axis = plots.Axis("key", [f"t{i}" for i in range(700)])
    panels = [plots.Panel(str(i), np.zeros((700, 700)), axis, axis) for i in range(4)]
    figure = plots.share_maps(panels, "t", "s", cell=(0.3, 0.3))
    assert max(figure.get_size_inches()) < 40
    assert len(figure.axes[2].get_xticks()) <= 64
