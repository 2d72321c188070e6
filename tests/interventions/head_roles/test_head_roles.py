"""Head roles from the command line: roles are assigned from scores in both orders of the names."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tests.conftest import only_run_folder
from tests.interventions.head_roles.command import run_roles


@pytest.mark.parametrize(("model", "suppressors"), [("tiny-gpt2", ["2.0", "2.1", "3.1"]), ("tiny-pythia", ["3.0"])])
def test_the_tiny_models_suppress_the_subject(sweep, tmp_path, model, suppressors):
    """Heads 0.0 and 0.3 of tiny-gpt2 attend to a position, not to a name, so that they are no name movers."""
    outcome = run_roles(sweep, f"model={model}")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    table = pd.read_csv(run / "results.csv", keep_default_na=False)
    assert table["order"].unique().tolist() == ["all", "abba", "baba"]
    with_role = table[(table["order"] == "abba") & (table["roles"] != "")]
    assert [f"{layer}.{head}" for layer, head in with_role[["layer", "head"]].to_numpy()] == suppressors
    assert set(with_role["roles"]) == {"subject suppressor"}
    assert metrics["n_subject_suppressor"] == len(suppressors)
    assert metrics["n_name_mover"] == 0
    assert "name mover: none" in outcome.out
    assert "no name movers, so that no head can be an S-inhibition head" in outcome.out
    assert {path.stem for path in (run / "plots").iterdir()} == {"circuit", "name_movers"}


def test_without_evidence_no_head_has_a_role(sweep, tmp_path):
    outcome = run_roles(sweep, "task.n=16", "intervention.thresholds.end=1", "intervention.thresholds.pattern=1")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    table = pd.read_csv(run / "results.csv", keep_default_na=False)
    assert (table["roles"] == "").all()
    assert (table["query_effect"] == "").all()
    assert "no name movers, so none were knocked out" in outcome.out
    assert "heads without a role that write into the logit difference" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["intervention.thresholds.end=2"], "intervention.thresholds.end: got 2, expected"),
        (["intervention.thresholds.fame=1"], "intervention.thresholds.fame: no such key"),
        (["intervention.controls=19"], "intervention.controls: got 19, expected"),
        (["task.n=15"], "task.n: roles are tested in either order of the names, with intervals; got 7 prompts"),
        (["task.n=40", "task.order=abba"], "task.n: roles are tested in either order of the names, with"),
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
