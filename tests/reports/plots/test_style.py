from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ioi_lab.reports import plots
from ioi_lab.reports.plots.style import plain_number
from tests.reports.plots.helpers import LAYERS


def test_tokens_are_not_formulas():
    tokens = plots.Axis("position", ["$$", "$x_", "\\frac"])
    assert plots.png(plots.heat_maps({"": np.ones((2, 3))}, LAYERS, tokens, "$$", "s")).startswith(b"\x89PNG")


def test_png():
    figure = plots.interval_line(plots.Axis("layer", ["0", "1"]), np.ones(2), np.zeros(2), np.full(2, 2.0), "v", "t")
    assert plots.png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("token", "shown"),
    [(" John", "John"), (" ", "␣"), ("\n", "\\n"), ("<|endoftext|>", "<|endoft…"), ("a" * 9, "a" * 9)],
)
def test_a_token_is_never_blank_nor_long(token, shown):
    assert plots.visible(token) == shown


def test_titles_fit_the_width_of_the_figure():
    figure = plots.interval_line(LAYERS, np.ones(2), np.zeros(2), np.ones(2), "v", "word " * 60 + "\nlast line")
    *wrapped, last = figure.get_suptitle().splitlines()
    assert " ".join(wrapped) == ("word " * 60).strip()
    assert max(map(len, wrapped)) <= 13 * figure.get_figwidth()
    assert last == "last line"


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (0.05, "0.05"), (1e-5, "1e−5"), (1e-12, "1e−12")])
def test_numbers_of_logarithmic_axes_have_no_markup(value, text):
    assert plain_number(value) == text


def test_shades_are_different_and_go_from_dark_to_light():
    brightness = [sum(to_rgb(colour)) for colour in plots.shades(5)]
    assert brightness == sorted(brightness)
    assert len(set(brightness)) == 5
    assert brightness[-1] < 2.5  # visible on white


@pytest.mark.parametrize(("kind", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_vector_files_of_equal_figures_are_equal(kind, start):
    contents = [
        plots.image(plots.heat_maps({"": np.ones((2, 3))}, LAYERS, plots.Axis.numbered("head", 3), "t", "s"), kind)
        for _ in range(2)
    ]
    assert contents[0].startswith(start)
    assert contents[0] == contents[1]
