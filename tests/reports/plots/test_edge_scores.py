from __future__ import annotations

import numpy as np

from ioi_lab.reports import plots
from tests.reports.plots.helpers import texts


def test_pairs_of_classes_without_edges_are_blank():
    scores, counts = np.array([[0.5, 0.0], [0.0, -0.25]]), np.array([[3, 0], [1, 2]])
    figure = plots.class_matrix(scores, counts, ["induction", "mover"], ["mover q", "logits"], "title")
    ax, scale = figure.axes
    assert texts(ax) == ["0.50", "0.00", "−0.25"]
    assert np.isnan(ax.images[0].get_array().filled(np.nan)).tolist() == [[False, True], [False, False]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["induction (3)", "mover (3)"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["mover q (4)", "logits (2)"]
    assert scale.get_ylabel() == "sum of scores"
    assert plots.png(figure).startswith(b"\x89PNG")


def test_methods_are_compared_with_others_only():
    correlations = np.array([[1.0, 0.8, -0.1], [0.8, 1.0, 0.2], [-0.1, 0.2, 1.0]])
    figure = plots.method_agreement(["exact", "eap", "random"], correlations, "title")
    ax, _ = figure.axes
    assert texts(ax) == ["0.80", "−0.10", "0.80", "0.20", "−0.10", "0.20"]
    assert ax.images[0].get_clim() == (-1, 1)
