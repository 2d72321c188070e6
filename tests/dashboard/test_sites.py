"""What a head did in all runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ioi_lab.dashboard import sites
from ioi_lab.dashboard.sites import first_metric, parse_site, read_rows, rows_at
from tests.dashboard.conftest import heads_table


@pytest.mark.parametrize(("text", "site"), [("9.6", (9, 6)), (" a9.h6 ", (9, 6)), ("9", (9, None)), ("L3", (3, None))])
def test_heads_and_layers_are_read(text, site):
    assert parse_site(text) == site


@pytest.mark.parametrize("text", ["", "9.", "9.6.1", "x", "9,6", "٣.٣", "99999.1", "../x"])
def test_other_texts_are_no_sites(text):
    assert parse_site(text) is None


def test_rows_of_a_head_have_value_interval_verdict_and_rank(leave, index_of):
    leave("a")
    rows, unread = rows_at(index_of(), (0, 1))
    (row,) = rows
    table = heads_table()
    assert unread == 0
    assert (row.row, row.name, row.metric, row.verdict, row.rank, row.n_rows) == (1, "z 0.1", "recovery", "yes", 1, 6)
    assert row.value == pytest.approx(table["recovery"][1])
    assert (row.low, row.high) == pytest.approx((row.value - 0.1, row.value + 0.1))
    assert rows_at(index_of(), (2, 0))[0][0].verdict == "no"
    assert rows_at(index_of(), (0, None))[0] == []


def test_the_rank_is_by_the_distance_from_no_effect(leave, index_of):
    leave("a", {"intervention.direction": "noise"}, table=heads_table().assign(recovery=[1.0, 0.9, 0.2, 1.1, 1, 1]))
    rows = {head: rows_at(index_of(), head)[0][0] for head in ((1, 0), (1, 1), (0, 0))}
    assert [row.rank for row in rows.values()] == [1, 2, 4]


def test_runs_are_those_of_the_model_and_the_metric(leave, index_of):
    leave("a")
    leave("b", {"model.name": "tiny-pythia"})
    leave("c", table=heads_table().drop(columns="recovery"))
    leave("d", status="failed")
    index = index_of()
    assert {row.entry.folder for row in rows_at(index, (1, 1))[0]} == {"a", "b", "c"}
    assert {row.entry.folder for row in rows_at(index, (1, 1), "tiny-pythia")[0]} == {"b"}
    assert {row.entry.folder for row in rows_at(index, (1, 1), metric="recovery")[0]} == {"a", "b"}


def test_the_newest_runs_are_read(leave, index_of, monkeypatch):
    monkeypatch.setattr(sites, "MAX_RUNS", 1)
    leave("old", updated="2025-01-01T00:00:00Z")
    leave("new", updated="2026-01-01T00:00:00Z")
    rows, unread = rows_at(index_of(), (0, 0))
    assert ([row.entry.folder for row in rows], unread) == (["new"], 1)


def test_damaged_tables_and_links_that_lead_out_are_left_out(leave, index_of, tmp_path):
    (leave("a") / "results.csv").write_bytes(b"\xff\xfe\x00")
    linked = leave("b")
    (linked / "results.csv").rename(tmp_path / "secret.csv")
    (linked / "results.csv").symlink_to(tmp_path / "secret.csv")
    (leave("c") / "results.csv").write_text("layer,head\n0,0,extra\n0\n")
    assert rows_at(index_of(), (0, 0))[0] == []


def test_own_intervals_decide_without_a_corrected_test(leave, index_of):
    table = pd.DataFrame({"layer": [0, 1], "head": [0, 0], "best_slope": [0.5, 0.1]})
    leave("a", table=table.assign(best_slope_low=[0.2, -0.1], best_slope_high=[0.8, 0.3], position="all"))
    index = index_of()
    verdicts = [rows_at(index, (layer, 0))[0][0].verdict for layer in (0, 1)]
    assert verdicts == ["yes (own interval)", "no (own interval)"]


def test_the_first_metric_is_an_effect_if_there_is_one():
    assert first_metric(["layer", "kl", "recovery"], [{"kl": "1"}]) == "recovery"
    assert first_metric(["layer", "p_value", "kl_low", "kl"], [{"layer": "1", "kl": "0.5", "kl_low": "0"}]) == "kl"
    assert first_metric(["layer", "roles"], [{"roles": "x"}]) == ""


def test_a_changed_table_is_read_again(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("layer\n0\n")
    assert read_rows(path, 1) == ({"layer": "0"},)
    path.write_text("layer\n1\n")
    assert read_rows(path, 2) == ({"layer": "1"},)
    assert np.isfinite(float(read_rows(path, 2)[0]["layer"]))
