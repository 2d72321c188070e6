"""Axes for the tests of the plots, and the texts that a plot shows."""

from __future__ import annotations

from ioi_lab.reports import plots

LAYERS, HEADS = plots.Axis("layer", ["0", "1"]), plots.Axis("head", ["0", "1", "2"])
TOKENS = plots.Axis("position", ["<bos>", "$x$", "to"])


def texts(ax):
    return [text.get_text() for text in ax.texts]
