from __future__ import annotations

import pandas as pd

from ioi_lab.reports.charts import Curves, Map, Ranking
from ioi_lab.runs.wandb_log import MAX_ROWS, grouped_bounds, history, tables_of, wandb_table

TABLE = pd.DataFrame(
    {
        "layer": [0, 0, 1, 1],
        "scale": [1.0, -1.0, 1.0, -1.0],
        "x": [1.0, 2.0, 3.0, None],
        "x_low": [0.5, None, 2.5, None],
    }
)
CURVES = Curves("x_by_scale", "scale", "x", ("layer",))


def test_a_row_of_the_history_has_all_curves_along_the_same_column():
    charts = [
        CURVES,
        Curves("low_by_scale", "scale", "x_low", ("layer",)),
        Curves("x_by_layer", "layer", "x", ("scale",)),
    ]
    assert history(charts, {"results": TABLE}) == [
        {"scale": -1.0, "x_by_scale/layer 0": 2.0},
        {
            "scale": 1.0,
            "x_by_scale/layer 0": 1.0,
            "ci/x_by_scale/layer 0_low": 0.5,
            "x_by_scale/layer 1": 3.0,
            "ci/x_by_scale/layer 1_low": 2.5,
            "low_by_scale/layer 0": 0.5,
            "low_by_scale/layer 1": 2.5,
        },
        {"layer": 0.0, "x_by_layer/scale 1": 1.0, "ci/x_by_layer/scale 1_low": 0.5, "x_by_layer/scale -1": 2.0},
        {"layer": 1.0, "x_by_layer/scale 1": 3.0, "ci/x_by_layer/scale 1_low": 2.5},
    ]


def test_there_is_no_history_without_the_table():
    assert history([CURVES], {"prompts": TABLE}) == []


def test_bounds_are_grouped():
    metrics = {"best": 1.0, "best_low": 0.0, "best_high": 2.0, "control_band_low": 3.0}
    assert grouped_bounds(metrics) == {"best": 1.0, "ci/best_low": 0.0, "ci/best_high": 2.0, "control_band_low": 3.0}


def test_every_table_every_map_and_every_ranking_is_logged():
    charts = [
        CURVES,
        Ranking("top", "x", ("layer", "scale")),
        Map("map", "x_low", "layer", "scale"),
        Map("m", "x", "y", "z"),
    ]
    full = TABLE.fillna(0.0)
    logged = tables_of({"results": full, "prompts": full.head(1)}, charts)
    assert set(logged) == {"tables/results", "tables/prompts", "tables/map", "rankings/top"}
    assert logged["tables/map"].columns == ["layer", "scale -1.0", "scale 1.0"]
    assert logged["rankings/top"].table.data[0] == ["layer 1 scale 1", 3.0]


def test_columns_have_one_type_and_missing_values_are_none():
    mixed = pd.DataFrame({"position": ["END", 3, None], "head": pd.array([1, None, 2], dtype="Int64")})
    assert wandb_table(mixed).data == [["END", 1], ["3", None], [None, 2]]


def test_long_tables_are_cut():
    assert len(wandb_table(pd.DataFrame({"x": range(MAX_ROWS + 1)})).data) == MAX_ROWS
