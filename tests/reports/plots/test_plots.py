from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from ioi_lab.reports import plots


def texts(ax):
    return [text.get_text() for text in ax.texts]


def outlined(ax):
    return {(patch.get_x() + 0.5, patch.get_y() + 0.5) for patch in ax.patches if isinstance(patch, Rectangle)}


LAYERS, HEADS = plots.Axis("layer", ["0", "1"]), plots.Axis("head", ["0", "1", "2"])


def test_heat_map_is_centred_labelled_and_marked():
    values = np.array([[0.1, -0.8, 0.0], [0.001, 0.4, -0.001]])
    figure = plots.heat_maps({"": values}, LAYERS, HEADS, "title", "recovery", mark=3)
    ax, bar = figure.axes
    assert ax.images[0].get_clim() == (-0.8, 0.8)
    assert texts(ax) == ["0.10", "−0.80", "0.00", "0.00", "0.40", "0.00"]
    assert outlined(ax) == {(1, 0), (1, 1), (0, 0)}
    assert (ax.get_xlabel(), ax.get_ylabel(), bar.get_ylabel()) == ("head", "layer", "recovery")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2"]


def test_small_effects_are_not_marked():
    figure = plots.heat_maps({"": np.array([[1.0, 0.05, 0.0], [0, 0, 0]])}, LAYERS, HEADS, "t", "s", mark=3)
    assert outlined(figure.axes[0]) == {(0, 0)}


def test_nothing_is_marked_where_there_is_no_effect():
    assert outlined(plots.heat_maps({"": np.zeros((2, 3))}, LAYERS, HEADS, "t", "s", mark=3).axes[0]) == set()


def test_tokens_are_no_formulas():
    tokens = plots.Axis("position", ["$$", "$x_", "\\frac"])
    assert plots.png(plots.heat_maps({"": np.ones((2, 3))}, LAYERS, tokens, "$$", "s")).startswith(b"\x89PNG")


def test_panels_share_a_scale_and_hide_the_rest():
    panels = {f"p{i}": np.full((2, 3), float(i)) for i in range(5)}
    figure = plots.heat_maps(panels, LAYERS, HEADS, "t", "s")
    visible = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in visible] == list(panels)
    assert {ax.images[0].get_clim() for ax in visible} == {(-4.0, 4.0)}


def test_all_zero_values_have_a_scale():
    figure = plots.heat_maps({"": np.zeros((2, 3))}, LAYERS, HEADS, "t", "s")
    assert figure.axes[0].images[0].get_clim() == (-1.0, 1.0)


def test_large_maps_hold_no_numbers():
    axis = plots.Axis("x", [str(i) for i in range(30)])
    figure = plots.heat_maps({"": np.ones((30, 30))}, axis, axis, "t", "s")
    assert texts(figure.axes[0]) == []


def test_ranked_bars_keep_their_order_and_intervals():
    figure = plots.ranked_bars(
        plots.Axis("layer.head", ["9.9", "9.6"]),
        np.array([0.5, -0.2]),
        np.array([0.4, -0.3]),
        np.array([0.7, -0.1]),
        "v",
        "t",
    )
    ax = figure.axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["9.9", "9.6"]
    assert ax.yaxis_inverted()
    assert ax.get_ylabel() == "layer.head"
    assert "95 %" in ax.get_xlabel()
    assert len({bar.get_facecolor() for bar in ax.patches}) == 2
    segments = ax.collections[0].get_segments()
    assert np.array(segments)[:, :, 0] == pytest.approx(np.array([[0.4, 0.7], [-0.3, -0.1]]))


def test_without_intervals_none_are_promised():
    unknown = np.array([np.nan])
    bars = plots.ranked_bars(plots.Axis("head", ["0.0"]), np.array([1.0]), unknown, unknown, "v", "t")
    line = plots.interval_line(plots.Axis("layer", ["0"]), np.array([1.0]), unknown, unknown, "v", "t")
    assert "95 %" not in bars.axes[0].get_xlabel()
    assert [text.get_text() for text in line.axes[0].get_legend().get_texts()] == ["no edit"]


def test_scatter_names_the_points_farthest_out():
    x, y = np.array([0.0, 0.5, -0.9, 0.1]), np.array([0.0, 0.4, -1.0, 0.1])
    figure = plots.scatter(x, y, ["0.0", "0.1", "0.2", "0.3"], "exact", "estimate", "t", named=2, line="equal")
    ax = figure.axes[0]
    assert texts(ax) == ["0.2", "0.1"]
    assert ax.lines[0].get_xydata().tolist() == [[-1.0, -1.0], [0.5, 0.5]]  # where both agree
    assert ax.collections[0].get_offsets().tolist() == np.stack([x, y], axis=1).tolist()


def test_png():
    figure = plots.interval_line(plots.Axis("layer", ["0", "1"]), np.ones(2), np.zeros(2), np.full(2, 2.0), "v", "t")
    assert plots.png(figure).startswith(b"\x89PNG")


def test_scatter_names_the_extremes_of_either_axis_apart():
    x, y = np.array([0.0, 1.0, 0.5, 0.99]), np.array([10.0, 0.0, 0.1, 0.0])
    figure = plots.scatter(x, y, ["up", "far", "mid", "near"], "x", "y", "t", named=2)
    assert set(texts(figure.axes[0])) == {"up", "far", "mid", "near"}
    placed = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert placed["far"] != placed["near"]


TOKENS = plots.Axis("position", ["<bos>", "$x$", "to"])


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


def test_line_panels_draw_bands_where_they_are_known():
    known = plots.Line("clean", np.array([1.0, 2.0]), np.array([0.5, 1.5]), np.array([1.5, 2.5]))
    unknown = plots.Line("corrupted", np.array([1.0, 3.0]), np.full(2, np.nan), np.full(2, np.nan), dashed=True)
    panels = [
        plots.LinePanel("logits", [known, unknown], zero=True),
        plots.LinePanel("rank", [unknown], logarithmic=True, floor=0.1),
    ]
    figure = plots.line_panels(LAYERS, panels, "title")
    left, right = figure.axes
    assert len(left.collections) == 1
    assert len(right.collections) == 0
    assert right.get_yscale() == "log"
    assert right.get_ylim()[0] == 0.1
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["clean", "corrupted"]
    assert "95 %" in figure.get_suptitle()
    assert "95 %" not in plots.line_panels(LAYERS, panels[1:], "title").get_suptitle()
    assert plots.png(figure).startswith(b"\x89PNG")


ROLES = {"induction": "#cccccc", "name mover": "#eeeeee", "backup name mover": "#dddddd"}


def test_a_circuit_has_a_box_a_role_and_an_arrow_an_effect():
    nodes = [plots.Node("5.5", 5, "induction"), plots.Node("9.9", 9, "name mover"), plots.Node("9.6", 9, "name mover")]
    effects = [plots.Effect("5.5", "9.9", 0.2), plots.Effect("9.9", plots.LOGITS, -0.4)]
    figure = plots.circuit(nodes, effects, ROLES, "title", "caption")
    ax = figure.axes[0]
    places = {text.get_text(): text.get_position() for text in ax.texts}
    assert places["9.9"][1] == places["9.6"][1] > places["5.5"][1]
    assert places["5.5"][0] < places["9.9"][0] < places["9.6"][0]
    assert places["logits"][1] > places["9.9"][1]
    assert "none" in places  # nobody backs up
    first, second = ax.patches
    assert second.get_linewidth() > first.get_linewidth()
    assert first.get_edgecolor() != second.get_edgecolor()
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["5", "9"]


def test_a_circuit_without_heads_is_empty():
    figure = plots.circuit([], [], ROLES, "title", "caption")
    assert texts(figure.axes[0]).count("none") == 3
    assert plots.png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("token", "shown"),
    [(" John", "John"), (" ", "␣"), ("\n", "\\n"), ("<|endoftext|>", "<|endoft…"), ("a" * 9, "a" * 9)],
)
def test_a_token_is_never_blank_nor_long(token, shown):
    assert plots.visible(token) == shown


def test_a_map_of_a_long_prompt_stays_of_a_size_that_can_be_drawn():
    axis = plots.Axis("key", [f"t{i}" for i in range(700)])
    panels = [plots.Panel(str(i), np.zeros((700, 700)), axis, axis) for i in range(4)]
    figure = plots.share_maps(panels, "t", "s", cell=(0.3, 0.3))
    assert max(figure.get_size_inches()) < 40
    assert len(figure.axes[2].get_xticks()) <= 64


def test_a_limit_ends_the_colours_before_an_outlier():
    values = np.array([[40.0, -1.0, 0.0], [2.0, -2.0, 1.0]])
    figure = plots.heat_maps({"": values}, LAYERS, HEADS, "t", "s", limit=2.0, upward=True)
    assert figure.axes[0].images[0].get_clim() == (-2, 2)
    assert figure.axes[0].images[0].origin == "lower"
    assert figure.axes[0].images[0].colorbar.extend == "both"
    whole = plots.heat_maps({"": values}, LAYERS, HEADS, "t", "s")
    assert whole.axes[0].images[0].colorbar.extend == "neither"
