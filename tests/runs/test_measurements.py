"""The rows of runs, and their changes prompt by prompt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ioi_lab.runs.measurements import Results, paired_changes, varying, without_edits
from ioi_lab.runs.reading import read_run
from ioi_lab.stats.bootstrap import Bootstrap

CSV = (
    "component,layer,head,scale,direction,logit_diff\nz,0,1,1.5,steering,2\nz,0,1,1.5,random 0,5\nz,0,2,-1,steering,\n"
)


@pytest.fixture
def run(leave):
    folder = leave("now/0", {"intervention.layer": 0}, best_recovery=0.5, corrupted_logit_diff=-2.0)
    (folder / "results.csv").write_text(CSV)
    return folder


def test_rows_are_read_as_numbers_without_random_directions(run):
    results = Results.read(read_run(run))
    assert list(results.numbers) == [0, 2]
    assert results.rows[0] == {
        "component": "z", "layer": 0, "head": 1, "scale": 1.5, "direction": "steering", "logit_diff": 2
    }  # fmt: skip
    assert varying(results.rows) == ["head", "scale"]
    assert results.n_sites == 2
    assert np.isnan(results.estimate("logit_diff").value).tolist() == [False, True]


def test_results_that_cannot_be_read_are_empty(run):
    (run / "results.csv").write_bytes(b"\xff\xfe\x00")
    assert not Results.read(read_run(run)).rows


def test_changes_are_paired_by_prompt(run):
    edited = np.random.default_rng(0).normal(size=10)
    before = edited - 3 + np.random.default_rng(1).normal(size=10) / 10
    pd.DataFrame(
        {"row": 0, "prompt": range(10), "logit_diff": edited, "clean_logit_diff": 0.0, "corrupted_logit_diff": before}
    ).to_parquet(run / "per_prompt.parquet")
    paired = paired_changes([Results.read(read_run(run))], "logit_diff")
    expected = Bootstrap(10, 0).mean((edited - before)[None])
    assert paired == {(0, 0): (expected.value[0], expected.low[0], expected.high[0])}
    assert paired_changes([Results.read(read_run(run))], "p_answer") == {}


def test_patching_is_compared_with_the_corrupted_run(run):
    without = without_edits(read_run(run), "logit_diff")
    assert without is not None
    assert (without.value, without.run) == (-2.0, "the unedited corrupted run")
    assert without_edits(read_run(run), "n_edits") is None


def test_rows_that_no_selector_tells_apart_have_numbers_unless_they_are_the_same():
    rows = [{"layer": layer, "added_norm": norm} for layer in (0, 1) for norm in (1.0, 2.0)]
    assert varying(rows) == ["layer", "row"]
    assert varying([*rows[::2], *rows[::2]]) == ["layer"]
