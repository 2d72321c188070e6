"""Head roles from the command line: roles are assigned from scores, and the name movers are put to the test."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tests.conftest import only_run_folder
from tests.interventions.head_roles.command import run_roles


@pytest.mark.parametrize("model", ["tiny-gpt2", "tiny-pythia"])
def test_name_movers_matter_more_than_random_heads(sweep, tmp_path, model):
    outcome = run_roles(sweep, f"model={model}")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    table = pd.read_csv(run / "results.csv", keep_default_na=False)
    movers = table[table["roles"].str.contains("(?:^|; )name mover")]
    assert len(movers) == metrics["n_name_mover"] > 0
    assert (movers["end_to_io"].astype(float) >= 0.2).all()
    assert (movers["copying"].astype(float) >= 0.25).all()
    assert (movers["direct_answer"].astype(float) >= 0.03).all()
    assert metrics["name_movers_change_high"] < 0
    assert metrics["name_movers_minus_roleless_high"] < 0
    assert metrics["name_movers_minus_roleless"] == pytest.approx(
        metrics["name_movers_change"] - metrics["roleless_change"]
    )
    assert {path.stem for path in (run / "plots").iterdir()} == {"circuit", "name_movers", "ablation"}
    assert "induction: none" in outcome.out


def test_without_evidence_no_head_has_a_role(sweep, tmp_path):
    outcome = run_roles(sweep, "task.n=8", "intervention.thresholds.end=1", "intervention.thresholds.pattern=1")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    table = pd.read_csv(run / "results.csv", keep_default_na=False)
    assert (table["roles"] == "").all()
    assert (table["query_effect"] == "").all()
    assert "no name movers, so none were ablated" in outcome.out
    assert "strong without a role" in outcome.out
    assert {path.stem for path in (run / "plots").iterdir()} == {"circuit", "name_movers"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["intervention.thresholds.end=2"], "intervention.thresholds.end: got 2, expected"),
        (["intervention.thresholds.fame=1"], "intervention.thresholds.fame: no such key"),
        (["task.n=1"], "task: head_roles puts one prompt's names into another; got 1 prompt, expected 2 or more"),
        (
            ["task=pairs", "task.prompt=The cat met John", "task.corrupt=The cat met Mary", "task.answer= John",
             "task.distractor= Mary"],
            "task: head_roles needs prompts with the label IO, as those of task=ioi have",
        ),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_line(sweep, arguments, line):
    outcome = run_roles(sweep, *arguments)
    assert outcome.code == 1
    assert outcome.error_line.startswith(f"error: {line}")
