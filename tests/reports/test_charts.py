from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ioi_lab.reports.charts import (
    MAX_LINES,
    Curves,
    Line,
    Map,
    Ranking,
    as_data,
    bars_of,
    cells_of,
    from_data,
    lines_of,
)

TABLE = pd.DataFrame(
    {
        "component": "z",
        "layer": pd.array([0, 0, 1, 1, 0], dtype="Int64"),
        "head": pd.array([0, 1, 0, 1, None], dtype="Int64"),
        "scale": [2.0, -1.0, 2.0, -1.0, 5.0],
        "value": [1.0, 4.0, -9.0, np.nan, 7.0],
        "value_low": [0.0, 3.0, -10.0, np.nan, 6.0],
        "direction": ["steering"] * 4 + ["random 0"],
    }
)


def test_charts_are_written_and_read():
    charts = [
        Curves("c", "scale", "value", ("layer",), {"direction": "steering"}),
        Ranking("r", "value", ("layer", "head"), table="slopes"),
        Map("m", "value", "layer", "head"),
    ]
    data = json.loads(json.dumps(as_data(charts)))
    assert from_data(data) == charts
    data["charts"] += [{"kind": "pie", "name": "p"}, {"kind": "map", "name": 3}, "nonsense", {"name": "x"}]
    assert from_data(data) == charts


@pytest.mark.parametrize("data", [{}, {"charts": None}, {"charts": {"kind": "map"}}])
def test_what_has_no_charts(data):
    assert from_data(data) == []


def test_lines_are_sorted_by_step_and_named_after_what_differs():
    lines = lines_of(Curves("c", "scale", "value", ("component", "layer"), {"direction": "steering"}), TABLE)
    assert [line.name for line in lines] == ["layer 0", "layer 1"]
    assert lines[0] == Line("layer 0", [-1.0, 2.0], [4.0, 1.0], [3.0, 0.0], pytest.approx([np.nan] * 2, nan_ok=True))


def test_the_only_line_is_named_after_its_column():
    one = TABLE[TABLE["layer"] == 0]
    (line,) = lines_of(Curves("c", "scale", "value", ("component", "layer")), one)
    assert (line.name, line.steps, line.values) == ("value", [-1.0, 2.0, 5.0], [4.0, 1.0, 7.0])


@pytest.mark.parametrize(
    "chart",
    [Curves("c", "scale", "p"), Curves("c", "x", "value"), Curves("c", "scale", "value", only={"run": "clean"})],
)
def test_a_missing_column_makes_no_line(chart):
    assert lines_of(chart, TABLE) == []


def test_one_step_makes_no_line():
    assert lines_of(Curves("c", "scale", "value", ("layer", "head")), TABLE.assign(scale=1.0)) == []


def test_positions_are_numbered_in_their_order():
    table = pd.DataFrame({"position": ["S2", "END", "S2", "END"], "layer": [0, 0, 1, 1], "value": [1.0, 2, 3, 4]})
    assert [line.steps for line in lines_of(Curves("c", "position", "value", ("layer",)), table)] == [[0.0, 1.0]] * 2


def test_of_many_lines_those_that_differ_most_are_kept():
    count = MAX_LINES + 5
    table = pd.DataFrame(
        {"head": np.repeat(np.arange(count), 2), "x": [0, 1] * count, "value": np.arange(2 * count) ** 2.0}
    )
    names = [line.name for line in lines_of(Curves("c", "x", "value", ("head",)), table)]
    assert names == [f"head {head}" for head in range(5, count)]


def test_bars_are_ranked_by_size():
    bars = bars_of(Ranking("r", "value", ("layer", "head")), TABLE)
    assert bars == [("layer 1 head 0", -9.0), ("layer 0", 7.0), ("layer 0 head 1", 4.0), ("layer 0 head 0", 1.0)]
    assert bars_of(Ranking("r", "p", ("layer",)), TABLE) == []


def test_a_map_is_a_table_of_its_cells():
    cells = cells_of(Map("m", "value", "layer", "head"), TABLE.fillna({"value": 0.0}))
    assert cells.columns.tolist() == ["layer", "head 0", "head 1"]
    assert cells.to_numpy(dtype=float).tolist() == [[0, 1, 4], [1, -9, 0]]


def test_a_map_with_missing_or_double_cells_is_none():
    assert cells_of(Map("m", "value", "layer", "head"), TABLE) is None
    assert cells_of(Map("m", "value", "layer", "component"), TABLE) is None
    assert cells_of(Map("m", "value", "layer", "x"), TABLE) is None
