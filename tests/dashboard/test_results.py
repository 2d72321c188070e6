"""The results of a run as a grid."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.dashboard.results import Results, UnreadableError, read_prompts, row_name, with_places
from tests.dashboard.conftest import HOSTILE, N_PROMPTS, heads_table


def steered() -> pd.DataFrame:
    """Two sites at three scales, and one random direction at one of them."""
    rows = [("steering", layer, scale) for layer in (0, 2) for scale in (-1.0, 0.5, 1.0)]
    rows += [("random 0", 2, scale) for scale in (-1.0, 0.5, 1.0)]
    return pd.DataFrame(
        {
            "component": "resid_pre",
            "layer": [row[1] for row in rows],
            "head": np.nan,
            "position": "END",
            "scale": [row[2] for row in rows],
            "direction": [row[0] for row in rows],
            "logit_diff": np.arange(9.0),
        }
    )


def test_heads_are_layers_by_heads():
    results = Results(heads_table(), {"name": "patch", "direction": "denoise"})
    assert results.axes == ("layer", "head")
    assert results.metrics == ["recovery", "logit_diff"]
    assert results.cuts == {}
    grid = results.grid("recovery", {})
    assert grid.rows == ["0", "1", "2"]
    assert grid.row_of.tolist() == [[0, 1], [2, 3], [4, 5]]
    np.testing.assert_array_equal(grid.values.ravel(), results.table["recovery"])
    assert grid.not_found.tolist() == [[False, False], [False, False], [True, True]]


def test_a_selector_that_is_no_axis_is_cut():
    results = Results(steered(), {"name": "steer"})
    assert results.axes == ("layer", "scale")
    assert results.cuts == {"direction": ["steering", "random 0"]}
    assert results.cut_of(()) == results.cut_of(["direction=none", "scale=1"]) == {"direction": "steering"}
    cut = results.cut_of(["direction=random 0"])
    grid = results.grid("logit_diff", cut)
    assert grid.rows == ["2"]
    assert grid.columns == ["-1", "0.5", "1"]
    assert grid.row_of.tolist() == [[6, 7, 8]]


def test_cells_without_a_row_are_unknown():
    grid = Results(heads_table().drop(index=2), {"name": "patch"}).grid("recovery", {})
    assert np.isnan(grid.values[1, 0])
    assert not grid.not_found[1, 0]


def test_components_of_the_residual_stream_are_one_axis():
    table = pd.DataFrame(
        {"component": ["resid_pre", "resid_post"] * 2, "layer": [0, 0, 1, 1], "head": np.nan, "kl": [1.0, 2, 3, 4]}
    )
    results = Results(with_places(table), {})
    assert results.axes == ("place", None)
    assert results.grid("kl", {}).rows == ["0 resid_pre", "0 resid_post", "1 resid_pre", "1 resid_post"]
    assert results.name_of(3) == "1 resid_post"


def test_one_row_is_one_cell():
    grid = Results(heads_table(n_layers=1, n_heads=1), {}).grid("recovery", {})
    assert grid.row_of.tolist() == [[0]]


def test_the_value_without_effect_is_that_of_the_run():
    assert Results(heads_table(), {"name": "patch", "direction": "noise"}).null("recovery") == 1.0
    assert Results(heads_table(), {"name": "patch"}).null("recovery") == 0.0
    assert Results(heads_table(), {"name": "patch"}).null("logit_diff") is None


def test_rows_are_named_by_their_selectors():
    assert row_name({"component": "z", "layer": 9, "head": 6, "position": "END", "scale": np.nan}) == "z 9.6 at END"
    assert row_name({"component": "resid_pre", "layer": 2, "head": None, "position": "all", "scale": -1.5}) == (
        "resid_pre 2, scale -1.5"
    )
    assert row_name({"position": "all"}) == "all"


def test_prompts_of_a_row(leave, runs_folder):
    leave("demo")
    prompts = read_prompts(RunsFolder(runs_folder), "demo", 3)
    assert len(prompts) == N_PROMPTS
    assert prompts["clean"].iloc[0] == HOSTILE
    assert prompts["logit_diff"].mean() == pytest.approx(heads_table()["logit_diff"].iloc[3])


def test_files_that_cannot_be_shown_say_why(leave, runs_folder, tmp_path):
    runs = RunsFolder(runs_folder)
    folder = leave("demo")
    (folder / "per_prompt.parquet").write_bytes(b"no table")
    with pytest.raises(UnreadableError, match=r"per_prompt\.parquet cannot be read"):
        read_prompts(runs, "demo", 0)
    (folder / "results.csv").write_bytes(b"")
    with pytest.raises(UnreadableError, match=r"results\.csv cannot be read"):
        Results.read(runs, "demo", {})
    (folder / "results.csv").unlink()
    (folder / "results.csv").symlink_to(tmp_path / "secret.csv")
    (tmp_path / "secret.csv").write_text("layer\n0\n")
    with pytest.raises(UnreadableError, match=r"this run has no results\.csv"):
        Results.read(runs, "demo", {})
