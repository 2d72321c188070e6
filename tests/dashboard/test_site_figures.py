"""The figure of a site, as data."""

from __future__ import annotations

from ioi_lab.dashboard.site_figures import hover_text, label_of, site_figure
from ioi_lab.dashboard.sites import rows_at
from tests.dashboard.conftest import HOSTILE, heads_table


def test_each_metric_has_a_panel_and_each_intervention_a_colour(leave, index_of):
    leave("a")
    leave("b", {"intervention.name": "ablate"})
    leave("c", {"intervention.name": "attention"}, table=heads_table()[["layer", "head"]].assign(to_IO=0.5))
    rows, _ = rows_at(index_of(), (2, 0))
    figure = site_figure(rows, "head 2.0")
    assert {trace.name for trace in figure.data} == {"patch", "ablate", "attention"}
    assert [text.text for text in figure.layout.annotations] == ["recovery", "to IO"]
    assert "hollow" in figure.layout.title.text
    (symbol,) = next(trace for trace in figure.data if trace.name == "patch").marker.symbol
    assert symbol.endswith("-open")


def test_texts_are_text(leave, index_of):
    leave("a", {"intervention.name": HOSTILE}, table=heads_table().assign(position=HOSTILE, roles=HOSTILE))
    rows, _ = rows_at(index_of(), (0, 0))
    shown = site_figure(rows, HOSTILE).to_dict()
    for trace in shown["data"]:
        trace.pop("legendgroup", None)
    assert "<img" not in str(shown)
    assert "rank 2 of 6 by size" in hover_text(rows[0])
    assert label_of(rows[0], 4).startswith("5. a z 0.0 at")


def test_no_rows_are_an_empty_figure():
    assert len(site_figure([], "none").data) == 0
