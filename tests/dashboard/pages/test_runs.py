"""The table of runs."""

from __future__ import annotations

import json

from ioi_lab.dashboard.index import Changes
from ioi_lab.dashboard.pages.runs import layout, status_line, transaction, view_of
from ioi_lab.dashboard.views import RunsView


def table_of(page):
    return next(part for part in page.children if getattr(part, "id", None) == "runs-table")


def test_the_table_has_a_row_per_run(leave, index_of):
    leave("a", best_recovery=0.5)
    leave("b", status="failed", error="<b>bad</b>")
    table = table_of(layout(index_of(), RunsView(search="tiny")))
    rows = {row["folder"]: row for row in table.rowData}
    assert (rows["a"]["value"], rows["a"]["low"], rows["b"]["error"]) == (0.5, 0.7, "<b>bad</b>")
    assert table.dashGridOptions["quickFilterText"] == "tiny"
    assert table.dangerously_allow_code is None if hasattr(table, "dangerously_allow_code") else True


def test_the_line_counts_runs_by_status(leave, index_of):
    leave("a")
    leave("b", status="failed")
    index = index_of()
    index.waiting = 7
    index.left_out = 1
    text = str(status_line(index.entries(), index))
    for part in ("2 runs", "1 done", "1 failed", "reading 7 more", "1 folder not shown"):
        assert part in text
    assert "damaged" not in text


def test_controls_become_a_view_and_back(leave, index_of):
    filters = {"model": {"filterType": "text", "type": "contains", "filter": "gpt"}}
    columns = [{"colId": "seconds", "sort": "asc", "sortIndex": 1}, {"colId": "model", "sort": "desc", "sortIndex": 0}]
    view = view_of("words", filters, columns)
    assert view == RunsView("words", json.dumps(filters, separators=(",", ":")), "model:desc,seconds:asc")
    leave("a")
    table = table_of(layout(index_of(), view))
    assert table.filterModel == filters
    assert {column["field"]: column["sort"] for column in table.columnDefs if "sort" in column} == {
        "model": "desc",
        "seconds": "asc",
    }
    assert view_of(None, None, None) == RunsView()


def test_an_odd_address_has_no_filters_and_no_order(leave, index_of):
    leave("a")
    for view in (RunsView(filters="[", sort=",:,x"), RunsView(filters='{"none":{}}'), RunsView(filters='{"model":1}')):
        table = table_of(layout(index_of(), view))
        assert table.filterModel == {}
        assert not any("sort" in column for column in table.columnDefs)


def test_only_changes_are_sent(leave, index_of):
    leave("a")
    entry = index_of().get("a")
    sent = transaction(Changes(3, [entry], [], ["b"]))
    assert [row["folder"] for row in sent["add"]] == ["a"]
    assert sent["update"] == []
    assert sent["remove"] == [{"folder": "b"}]
