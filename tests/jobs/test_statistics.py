"""Which prompts an experiment measures, and what its intervals are taken over."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ioi_lab.stats.groups import intraclass_correlation
from tests.conftest import only_run_folder

QUIET = ("tracker=none", "figures=false", "intervention.layer=[0,1]")


def finished(sweep, tmp_path, *arguments):
    outcome = sweep(*QUIET, *arguments)
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    return outcome, json.loads((run / "metrics.json").read_text()), pd.read_csv(run / "results.csv"), run


def test_intervals_are_taken_over_sentences(sweep, tmp_path):
    """The same effects with other bounds: those of whole sentences, in which every resample is one of sums."""
    outcome, metrics, table, run = finished(sweep, tmp_path, "task.n=32", "stats.over=sentences")
    assert "with 95 % intervals over sentences" in outcome.out
    assert "(t-test over sentences, Benjamini–Hochberg at 5 %)" in outcome.out
    assert metrics["n_sentences"] == 16
    clean = pd.read_csv(run / "prompts.csv")["clean_logit_diff"].to_numpy()
    sentences = np.arange(32) % 16
    expected = intraclass_correlation(clean, sentences.tolist())
    assert metrics["clean_logit_diff_icc"] == pytest.approx(expected, abs=1e-4)
    other = sweep(*QUIET, "task.n=32", "name=prompts")
    assert "with 95 % intervals over prompts" in other.out
    (folder,) = (tmp_path / "runs" / "prompts").iterdir()
    over_prompts = pd.read_csv(folder / "results.csv")
    assert over_prompts["recovery"].to_numpy() == pytest.approx(table["recovery"].to_numpy())
    assert np.abs(over_prompts["recovery_low"] - table["recovery_low"]).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["task.n=7"], "stats.over: got 'sentences', but the 7 prompts have 7 of them; expected prompts, or"),
        (["task.template=3"], "stats.over: got 'sentences', but the 32 prompts have 1 of them; expected prompts"),
        (
            ["task=pairs", "task.prompt=The cat met John", "task.corrupt=The cat met Mary", "task.answer= John",
             "task.distractor= Mary"],
            "stats.over: got 'sentences', but these prompts are not marked with their sentences; expected prompts",
        ),
        (["stats.over=names"], "stats.over: got 'names', expected 'prompts' or 'sentences'"),
    ],
)  # fmt: skip
def test_too_few_sentences_are_reported(sweep, tmp_path, arguments, line):
    outcome = sweep(*QUIET, "stats.over=sentences", *arguments)
    assert outcome.code == 1
    assert outcome.error_line.startswith(f"error: {line}")


def test_only_prompts_that_the_model_answers_are_kept(sweep, tmp_path, random_folders):
    """A model with random weights answers about half of the prompts."""
    model = ["model=folder", f"model.path={random_folders['gpt2']}", "task.n=20"]
    outcome, metrics, _, run = finished(sweep, tmp_path, *model, "task.only_correct=true")
    kept = pd.read_csv(run / "prompts.csv")
    assert 0 < len(kept) < 20
    assert (kept["clean_logit_diff"] > 0).all()
    assert metrics["n_prompts"] == len(kept)
    assert metrics["clean_accuracy"] == 1
    assert f"kept {len(kept)} of 20 prompts: those that the model answers" in outcome.out
    everything = sweep(*QUIET, *model, "name=all")
    assert everything.code == 0, everything.err
    (folder,) = (tmp_path / "runs" / "all").iterdir()
    prompts = pd.read_csv(folder / "prompts.csv")
    assert prompts[prompts["clean_logit_diff"] > 0]["clean"].tolist() == kept["clean"].tolist()


def test_no_prompt_that_is_answered_is_an_error(sweep, tmp_path):
    path = tmp_path / "wrong.csv"
    path.write_text(
        "clean,corrupt,answer,distractor\n"
        '"When John and Mary went to the store, John gave a drink to",'
        '"When John and Mary went to the store, Mary gave a drink to", John, Mary\n'
    )
    outcome = sweep(*QUIET, "task=pairs", f"task.path={path}", "task.only_correct=true")
    assert outcome.code == 1
    assert outcome.error_line == "error: task.only_correct: got true, but tiny-gpt2 answers none of the 1 prompts"


@pytest.mark.parametrize("intervention", ["steer", "logit_lens", "attention", "logit_attribution"])
def test_other_interventions_take_intervals_over_sentences_too(sweep, tmp_path, intervention):
    few = {"steer": ["intervention.layer=2", "intervention.scale=[-1,1]", "intervention.contrast=name_pair"]}
    arguments = ["tracker=none", "task.n=32", f"intervention={intervention}", *few.get(intervention, [])]
    outcome = sweep(*arguments, "figures=false", "stats.over=sentences")
    assert outcome.code == 0, outcome.err
    other = sweep(*arguments, "figures=false", "name=prompts")
    assert other.code == 0, other.err
    (run,), (folder,) = ((tmp_path / "runs" / name).iterdir() for name in (intervention, "prompts"))
    one, two = (pd.read_csv(path / "results.csv").select_dtypes("number") for path in (run, folder))
    means = [name for name in one if not name.endswith(("_low", "_high")) and not name.startswith("p_")]
    assert np.allclose(one[means], two[means], equal_nan=True)
    bounds = [name for name in one if name.endswith("_low")]
    assert not np.allclose(one[bounds], two[bounds], equal_nan=True)
