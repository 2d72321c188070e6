"""Direct logit attribution from the command line, and its result and report by themselves."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from yaml import safe_load

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.interventions.logit_attribution.config import LogitAttribution
from ioi_lab.interventions.logit_attribution.measure import Term, measure_logit_attribution, terms_of
from ioi_lab.interventions.logit_attribution.report import report_logit_attribution, term_name
from ioi_lab.lenses.direct import direct_effects
from ioi_lab.reports.report import ReportContext
from tests.conftest import ioi_task, only_run_folder


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


def test_a_config_of_an_earlier_version_runs_again(sweep, tmp_path):
    arguments = ("tracker=none", "intervention=logit_attribution", "task.n=4", "figures=false")
    assert sweep(*arguments, "intervention.prompts=corrupted").code == 0
    first = only_run_folder(tmp_path)
    config = (first / "config.yaml").read_text()
    old = config.replace("  prompts: corrupted", "  run: corrupted").replace(
        "ioi_lab.interventions.logit_attribution.config.LogitAttribution",
        "ioi_lab.interventions.logit_attribution.LogitAttribution",
    )
    assert safe_load(old)["intervention"] == {
        "_target_": "ioi_lab.interventions.logit_attribution.LogitAttribution",
        "name": "logit_attribution",
        "run": "corrupted",
    }
    (first / "old.yaml").write_text(old)
    outcome = sweep("--config-dir", str(first), "--config-name", "old", "name=again")
    assert outcome.code == 0, outcome.err
    (again,) = (tmp_path / "runs" / "again").iterdir()
    assert (again / "results.csv").read_text() == (first / "results.csv").read_text()


def test_the_old_key_is_refused_with_the_new_one(sweep):
    outcome = sweep("intervention=logit_attribution", "intervention.run=corrupted")
    assert outcome.code == 1
    assert outcome.error_line == "error: intervention.run: this key is now intervention.prompts"
    with pytest.raises(LabError, match=r"^intervention\.run: this key is now intervention\.prompts$"):
        LogitAttribution.from_config({"run": "clean", "prompts": "clean"}, "intervention")


def test_a_result_ranks_the_terms_of_the_pass(model):
    engine = Engine(model, ioi_task(n=8).prompt_pairs(model.tokens))
    result = measure_logit_attribution(engine, "corrupted")
    expected = direct_effects(engine, "corrupted")
    rows = dict(zip(result.terms, result.direct_effect.value.tolist(), strict=True))
    assert rows[Term("embed")] == pytest.approx(expected.difference.embedding.mean())
    assert rows[Term("z", 1, 2)] == pytest.approx(expected.difference.heads[1, 2].mean())
    assert rows[Term("attn_bias", 1)] == pytest.approx(expected.difference.attention_bias[1].mean())
    assert rows[Term("mlp_out", 0)] == pytest.approx(expected.difference.mlps[0].mean())
    assert rows[Term("constant")] == pytest.approx(expected.difference.constant.mean())
    assert result.by_head == pytest.approx(expected.difference.heads.mean(axis=-1))
    assert result.sum_of_terms == pytest.approx(result.logit_diff, abs=1e-3)
    sizes = np.abs(result.direct_effect.value)[result.ranking]
    assert (np.diff(sizes) <= 0).all()
    assert np.abs(result.by_head).max() == pytest.approx(abs(result.direct_effect.value[result.strongest_head]))
    assert result.checks.everything == pytest.approx(1, abs=1e-3)


def test_table_metrics_and_sentences_say_the_same(model):
    result = measure_logit_attribution(Engine(model, ioi_task(n=8).prompt_pairs(model.tokens)), "clean")
    report = report_logit_attribution(result, ReportContext("a model", "a task"))
    largest = result.ranking[0]
    assert report.summary[1].split()[-3] == f"{report.table['direct_effect'][largest]:.3f}"
    assert report.metrics["best_direct_effect"] == report.table["direct_effect"][report.metrics["best_row"]]
    bars = report.draw()["top_terms"].axes[0]
    assert bars.patches[0].get_width() == report.table["direct_effect"][largest]
    assert bars.get_yticklabels()[0].get_text() == report.summary[1].split("  ")[1]


def test_terms_are_named_in_the_order_of_the_forward_pass():
    assert [term_name(term) for term in terms_of(2, 2)] == [
        "embedding",
        *("0.0", "0.1", "attention bias 0", "MLP 0"),
        *("1.0", "1.1", "attention bias 1", "MLP 1"),
        "constant",
    ]
