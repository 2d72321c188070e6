"""Direct logit attribution from the command line."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tests.conftest import only_run_folder


@pytest.mark.parametrize(("model", "which"), [("tiny-gpt2", "clean"), ("tiny-pythia", "corrupted")])
def test_the_terms_of_a_run_add_up(sweep, tmp_path, model, which):
    outcome = sweep(
        "tracker=none", "intervention=logit_attribution", f"model={model}", f"intervention.prompts={which}", "task.n=8"
    )
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    table = pd.read_csv(run / "results.csv")
    metrics = json.loads((run / "metrics.json").read_text())
    assert len(table) == metrics["n_terms"] == 1 + 16 + 4 + 4 + 1
    assert table["direct_effect"].sum() == pytest.approx(metrics[f"{which}_logit_diff"], abs=1e-3)
    assert (table["on_answer"] - table["on_distractor"]).to_numpy() == pytest.approx(table["direct_effect"], abs=1e-9)
    assert metrics["check_sum_error"] < 1e-3
    heads = table[table["component"] == "z"]
    best = table.loc[heads["direct_effect"].abs().idxmax()]
    assert (best["layer"], best["head"]) == (metrics["best_layer"], metrics["best_head"])
    assert table.loc[metrics["best_row"], "direct_effect"] == metrics["best_direct_effect"]
    assert {path.stem for path in (run / "plots").iterdir()} == {"direct_effect_by_head", "top_terms"}
    assert "terms add up to it within" in outcome.out
