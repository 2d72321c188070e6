"""Components that pages share."""

from __future__ import annotations

from ioi_lab.dashboard.entries import Entry
from ioi_lab.dashboard.parts import age, choice, file_address, grid, number_column, run_link, view_store, with_interval
from ioi_lab.dashboard.views import RunView


def test_ages_and_intervals():
    assert [age(1000.0, 1000.0 + seconds) for seconds in (-5, 59, 3600, 200_000)] == ["0 s", "59 s", "1 h", "2 d"]
    assert age(None) == ""
    assert with_interval(-0.5, -0.75, 0.25) == "−0.500 [−0.750, 0.250]"
    assert with_interval(1.0, None, None) == "1.000"
    assert with_interval(None, 1.0, 2.0) == ""


def test_addresses_of_files_and_runs_are_quoted():
    assert file_address("a b/0", "plots/x#1.png") == "/files/a%20b/0/plots/x%231.png"
    assert file_address(".", "report.html") == "/files/report.html"
    assert run_link(Entry("a?b", "done")).href == "/run/a%3Fb"


def test_a_store_has_the_address_of_its_view():
    store = view_store(RunView("a", tab="map"))
    assert (store.id, store.data) == ({"view": "run"}, "/run/a?tab=map")


def test_lists_of_choices_have_labels():
    assert choice("x", {"a": "A"}, "").value is None
    assert choice("x", ["a", "b"], "b").options == [{"value": "a", "label": "a"}, {"value": "b", "label": "b"}]


def test_long_tables_scroll():
    column = number_column("a", "A", digits=1)
    assert column["valueFormatter"] == {"function": "decimals(params.value, 1)"}
    assert grid("x", [{"a": 1}] * 3, [column]).dashGridOptions["domLayout"] == "autoHeight"
    assert grid("x", [{"a": 1}] * 13, [column]).style == {"height": "26rem"}
