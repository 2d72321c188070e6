"""The heads of finished runs of other interventions, by the change of recovery."""

from __future__ import annotations

import pandas as pd
import pytest

from ioi_lab.errors import LabError
from ioi_lab.interventions.attention.ranked_heads import RankedHeads
from ioi_lab.runs.past_run import PastRun

ROWS = {"layer": [0, 0, 1, 1], "head": [0, 1, 0, 1], "recovery": [0.1, -0.7, 0.95, 0.4]}


def past_run(folder, rows, **intervention):
    pd.DataFrame(rows).to_csv(folder / "results.csv", index=False)
    return PastRun(folder, {"name": "patch", "component": "z"} | intervention, "a model", "0")


def test_heads_are_ranked_by_the_size_of_their_effect(tmp_path):
    ranked = RankedHeads.of(past_run(tmp_path, ROWS, direction="denoise"), "key")
    assert ranked.title == "patch z"
    assert ranked.heads == [(1, 0), (0, 1), (1, 1), (0, 0)]
    assert ranked.effects[0, 1] == -0.7


@pytest.mark.parametrize(
    "keys",
    [
        {"direction": "noise"},
        {"name": "ablate", "run": "clean"},
        {"name": "ablate", "prompts": "clean"},
        {"name": "wang2022"},
    ],
)
def test_an_edit_of_the_clean_pass_without_effect_recovers_everything(tmp_path, keys):
    ranked = RankedHeads.of(past_run(tmp_path, ROWS, **keys), "key")
    assert ranked.heads == [(0, 1), (0, 0), (1, 1), (1, 0)]
    assert ranked.effects[1, 0] == pytest.approx(-0.05)


def test_effects_are_those_of_the_metric_that_the_run_tested(tmp_path):
    rows = ROWS | {"recovery_kl": [0.5, 0.1, 0.0, 0.2]}
    assert RankedHeads.of(past_run(tmp_path, rows, metric="kl"), "key").heads == [(0, 0), (1, 1), (0, 1), (1, 0)]


def test_of_several_positions_the_largest_effect_counts(tmp_path):
    rows = {"layer": [0, 0, 0], "head": [1, 1, 1], "recovery": [0.1, -0.7, 0.3]}
    assert RankedHeads.of(past_run(tmp_path, rows), "key").effects == {(0, 1): -0.7}


def test_heads_that_the_run_distinguishes_from_0_are_found(tmp_path):
    assert RankedHeads.of(past_run(tmp_path, ROWS), "key").found is None
    tested = ROWS | {"p_adjusted": [0.2, 0.01, 0.001, 0.05]}
    assert RankedHeads.of(past_run(tmp_path, tested), "key").found == {(0, 1), (1, 0)}
    too_few = ROWS | {"p_adjusted": [None] * 4}
    assert RankedHeads.of(past_run(tmp_path, too_few), "key").found is None


@pytest.mark.parametrize(
    ("rows", "keys"),
    [
        ({"layer": [0], "head": [None], "recovery": [0.1]}, {"component": "mlp_out"}),
        ({"layer": [0], "head": [0], "to_IO": [0.1]}, {"name": "attention"}),
        (ROWS, {"component": "k"}),
    ],
)
def test_a_run_without_effects_of_single_heads_is_refused(tmp_path, rows, keys):
    with pytest.raises(LabError, match=r"^key: the run in .* has no effect per head; expected one of"):
        RankedHeads.of(past_run(tmp_path, rows, **keys), "key")
