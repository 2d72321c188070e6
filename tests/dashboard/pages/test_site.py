"""The page of a site."""

from __future__ import annotations

from ioi_lab.dashboard.pages.site import columns_of, content, layout, table_of
from ioi_lab.dashboard.sites import rows_at
from ioi_lab.dashboard.views import SiteView
from tests.dashboard.conftest import heads_table


def test_a_head_has_a_figure_and_a_table(leave, index_of):
    leave("a")
    leave("b", {"model.name": "tiny-pythia"})
    index = index_of()
    page = str(layout(index, SiteView("0.1")))
    for part in ("site-figure", "head 0.1 in 2 runs", "several models", "site-table"):
        assert part in page
    assert "several models" not in str(content(index, SiteView("0.1", model="tiny-gpt2")))


def test_without_a_site_there_are_words(leave, index_of):
    leave("a")
    index = index_of()
    assert "Which site?" in str(layout(index, SiteView()))
    assert "is neither a head such as 9.9 nor a layer" in str(content(index, SiteView("<b>")))
    assert "No finished run has results of head 9.9" in str(content(index, SiteView("9.9")))


def test_remarks_are_shown_if_there_are_some(leave, index_of):
    leave("a", table=heads_table().assign(roles="name mover"))
    rows, _ = rows_at(index_of(), (0, 0))
    assert table_of(rows)[0]["remark"] == "name mover"
    assert columns_of(rows)[-1]["field"] == "remark"
