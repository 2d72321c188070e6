"""Every plotting function, with one item and with thousands, with short names and with names that are traps."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.text import Text

from ioi_lab.reports import plots
from ioi_lab.reports.plots.sizes import DPI, MAX_PIXELS, left_out, pixels_per_inch, shortened, spread, thinned, wrapped
from ioi_lab.reports.plots.style import STYLE

SMALLEST_FONT = 6.0
NAMES = {
    "short": lambda index: str(index),
    "traps": lambda index: ("$", "_^{", "$x_{i}$", "\\frac", "%", "", "\n", "\x00", "\ud800")[index % 9],
    "scripts": lambda index: ("中国", "שלום", "العربية", "हिन्दी", "😀", "e\u0301", "\u200b")[index % 7],
    "long": lambda index: "a long name " * 25 + str(index),
    "one word": lambda index: f"{index}" + "antidisestablishment" * 15,
}


def values(count: int) -> plots.Array:
    return np.random.default_rng(count).normal(size=count)


def axis(count: int, name: Callable[[int], str]) -> plots.Axis:
    return plots.Axis(name(3), [name(index) for index in range(count)])


def line(count: int, label: str) -> plots.Line:
    middle = values(count)
    return plots.Line(label, middle, middle - 1, middle + 1)


def many_columns(count, name):
    return plots.heat_maps(
        {name(0): values(5 * count).reshape(5, -1)}, axis(5, str), axis(count, name), name(1), name(2)
    )


def many_rows(count, name):
    cells = values(5 * count).reshape(-1, 5)
    shape = {"pale": {name(0): cells > 0}, "outlined": [(0, 0)], "upward": True}
    return plots.heat_maps({name(0): cells}, axis(count, name), axis(5, str), name(1), name(2), **shape)


def many_maps(count, name):
    cells = {f"{name(index)} {index}": values(16).reshape(4, 4) for index in range(count)}
    return plots.heat_maps(cells, axis(4, name), axis(4, name), name(1), name(2))


def wide_shares(count, name):
    shares = np.linspace(0, 1, 5 * count).reshape(5, -1)
    texts = [[plots.visible(name(column)) for column in range(count)] for _ in range(5)]
    panels = [plots.Panel(name(0), shares, axis(5, name), axis(count, name), texts) for _ in range(4)]
    return plots.share_maps(panels, name(1), name(2), cell=(0.62, 0.2))


def many_shares(count, name):
    panels = [plots.Panel(name(index), np.eye(6), axis(6, name), axis(6, name)) for index in range(count)]
    return plots.share_maps(panels, name(1), name(2), per_row=int(np.ceil(count**0.5)), cell=(0.17, 0.17), floor=1e-6)


def bars(count, name):
    middle = values(count)
    return plots.ranked_bars(axis(count, name), middle, middle - 1, middle + 1, name(1), name(2))


def interval_line(count, name):
    middle = values(count)
    return plots.interval_line(axis(count, name), middle, middle - 1, middle + 1, name(1), name(2))


def long_lines(count, name):
    panels = [plots.LinePanel(name(1), [line(count, name(0))], floor=0.0), plots.LinePanel("b", [line(count, "b")])]
    return plots.line_panels(axis(count, name), panels, name(2), name(3))


def many_lines(count, name):
    lines = [line(4, f"{name(index)} {index}") for index in range(count)]
    return plots.line_panels(axis(4, name), [plots.LinePanel(name(1), lines, zero=True)], name(2), name(3))


def scatter(count, name):
    labels = [name(index) for index in range(count)]
    return plots.scatter(
        values(count), values(count) ** 2, labels, name(1), name(2), name(3), named=count, line="equal"
    )


def scatter_panels(count, name):
    panels = {f"{name(index)} {index}": (values(9), values(9) ** 3) for index in range(count)}
    return plots.scatter_panels(panels, [name(index) for index in range(9)], name(1), name(2), name(3))


def grouped(count, name):
    panels = {f"{name(index)} {index}": {name(0): (values(9), values(9) ** 3)} for index in range(count)}
    return plots.grouped_scatter(panels, name(1), name(2), name(3))


def spreads(count, name):
    marked = [plots.Marked(name(index), 1.0, 0.5, 1.5) for index in range(min(count, 20))]
    samples = [plots.Samples(name(index), values(30)) for index in range(count)]
    return plots.spreads(marked, samples, name(1), name(2), [name(3), name(4)])


def circuit(count, name):
    roles = dict.fromkeys((f"{name(index)} {index}" for index in range(7)), "#ffeeaa")
    nodes = [plots.Node(name(index) + str(index), index % 90, list(roles)[index % 7]) for index in range(count)]
    effects = [plots.Effect(node.head, plots.LOGITS, share) for node, share in zip(nodes, values(count), strict=True)]
    return plots.circuit(nodes, effects, roles, name(1), name(2))


def edge_graph(count, name):
    ends = np.random.default_rng(count).integers(0, [30, 12, 12], size=(count, 3))
    names = ["input->a0.h0<q>", *(f"a{layer}.h{head}->a{layer + 1}.h{other}<v>" for layer, head, other in ends)]
    return plots.edge_graph(names, values(len(names)), name(1), name(2))


def sizes_of(count):
    shares = np.geomspace(1e-3, 1, count)
    return shares, np.ceil(70_651 * shares).astype(int)


def long_curves(count, name):
    lines = [line(count, name(0)), line(count, "b")]
    return plots.faithfulness_curves(*sizes_of(count), lines, name(1), name(2), random=lines[0], half=name(3))


def many_curves(count, name):
    lines = [line(4, f"{name(index)} {index}") for index in range(count)]
    return plots.jaccard_curves(*sizes_of(4), lines, name(1), name(2), name(3))


def class_matrix(count, name):
    classes = [name(index) for index in range(count)]
    return plots.class_matrix(values(3 * count).reshape(3, -1), np.ones((3, count), int), ["a", "b", "c"], classes, "t")


PANELS = [many_maps, many_shares, scatter_panels, grouped]
ITEMS = [
    many_columns, many_rows, wide_shares, bars, interval_line, long_lines, many_lines, scatter, spreads, circuit,
    edge_graph, long_curves, many_curves, class_matrix,
]  # fmt: skip


@pytest.mark.parametrize(
    ("draw", "size"), [*product(ITEMS, (1, 5000)), *product(PANELS, (1,)), (many_maps, 1000), (scatter_panels, 17)]
)
def test_figures_of_any_size_can_be_read(draw, size):
    """Each size meets all of the kinds of names: which function meets which changes with its place in the list."""
    kinds = list(NAMES.values())
    check(draw(size, kinds[([*ITEMS, *PANELS].index(draw) + size) % len(kinds)]))


def check(figure: Figure) -> None:
    """No side is too long, and texts are large enough, inside the figure, and apart from one another."""
    assert max(figure.get_size_inches()) * pixels_per_inch(figure) <= MAX_PIXELS
    assert pixels_per_inch(figure) == DPI
    with context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= SMALLEST_FONT
    width, height = figure.bbox.size
    for ax in [ax for ax in figure.axes if ax.get_visible()]:
        assert min(ax.get_window_extent().size) > (3 if ax.get_label() == "<colorbar>" else 40), "a panel has collapsed"
        across, up = drawn_ticks(ax.xaxis), drawn_ticks(ax.yaxis)
        for text in [ax.title, ax.xaxis.label, ax.yaxis.label, *across, *up]:
            if text.get_visible() and text.get_text():
                box = text.get_window_extent()
                assert (box.x0 > -9, box.y0 > -9, box.x1 < width + 9, box.y1 < height + 9) == (True,) * 4, (text, box)
        assert_apart(across, 0)
        assert_apart(up, 1)


def drawn_ticks(axis: Axis) -> list[Text]:
    """The names of those ticks that are inside the limits of the axis."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def assert_apart(ticks: list[Text], side: int) -> None:
    """Names next to one another do not overlap; slanted ones are as far apart as a line is high."""
    boxes = [text.get_window_extent().get_points()[:, side] for text in ticks if text.get_text().strip()]
    slanted = bool(ticks) and side == 0 and ticks[0].get_rotation() not in (0, 90)
    for (_, high), (next_low, next_high) in pairwise(sorted(boxes, key=lambda box: box[1])):
        line = ticks[0].get_fontsize() / 72 * ticks[0].get_figure().dpi
        assert next_high - high > line - 1 if slanted else next_low >= high - 2, [text.get_text() for text in ticks]


def test_a_png_of_any_figure_has_at_most_4000_pixels_a_side():
    """Also one that somebody's own intervention draws, and one with texts that no font has."""
    figure = Figure(figsize=(30, 2))
    figure.suptitle("中国 \x00")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = plots.png(figure)
    assert struct.unpack(">II", png[16:24]) == (4000, 266)


def test_the_strongest_maps_are_drawn_in_their_order_and_the_title_says_of_how_many():
    maps = {str(index): np.full((2, 2), float(-index % 50)) for index in range(50)}
    figure = plots.heat_maps(maps, axis(2, str), axis(2, str), "title", "scale")
    shown = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert shown == [str(index) for index in range(1, 17)]
    assert "16 of 50 maps, those with the largest values; the run folder has all values" in figure.get_suptitle()


def test_circuits_keep_the_heads_with_the_largest_effects():
    nodes = [plots.Node(str(index), index % 30, "role") for index in range(2000)]
    effects = [plots.Effect(str(index), plots.LOGITS, index / 2000) for index in range(2000)]
    figure = plots.circuit(nodes, effects, {"role": "#ffffff"}, "title", "caption")
    heads = [int(text.get_text()) for text in figure.axes[0].texts if text.get_text().isdigit()]
    assert len(heads) > 100
    assert min(heads) == 2000 - len(heads)


@pytest.mark.parametrize(("count", "inches", "step"), [(4, 1, 1), (60, 6, 5), (1000, 6, 100), (490, 18, 10)])
def test_ticks_are_thinned_to_round_steps(count, inches, step):
    ticks = thinned([str(index) for index in range(count)], inches, upright=False)
    assert ticks.places == range(0, count, step)
    assert not ticks.slanted


def test_texts_are_cut_and_broken():
    assert shortened("a\nb" * 20, 10) == "a\\nba\\nba…"
    assert wrapped("one two three\nfour " + "x" * 99, 9, most=2) == "one two\nthree\nfour xxxx\nxxxxxxxx…"
    assert wrapped("中国" * 8, 16).splitlines() == ["中国" * 4, "中国" * 4]  # twice as wide
    assert spread(5, 9) == [0, 1, 2, 3, 4]
    assert spread(100, 4) == [0, 33, 66, 99]
    assert left_out(3, 3, "bars", "the first") == ""
