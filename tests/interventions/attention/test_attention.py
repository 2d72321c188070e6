"""Attention maps from the command line."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tests.conftest import only_run_folder


def run_attention(sweep, *arguments):
    return sweep("tracker=none", "intervention=attention", *arguments)


@pytest.mark.long
def test_a_run_has_a_table_figures_and_a_page(sweep, tmp_path):
    outcome = run_attention(sweep, "task.n=8", "intervention.heads=['0.0','2.1']")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    table = pd.read_csv(run / "results.csv")
    assert len(table) == 16
    columns = ["to_IO", "to_S1", "to_S2", "to_elsewhere"]
    assert table[columns].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert (table["to_IO_low"] <= table["to_IO"]).all()
    assert (table["to_IO"] <= table["to_IO_high"]).all()
    best = table.loc[table["to_IO"].idxmax()]
    metrics = json.loads((run / "metrics.json").read_text())
    assert (best["layer"], best["head"]) == (metrics["best_layer"], metrics["best_head"])
    assert metrics["best_to_IO"] == pytest.approx(best["to_IO"])
    pages = {f"patterns_layer_{layer:02d}" for layer in range(4)}
    assert {path.stem for path in (run / "plots").iterdir()} == {
        *pages, "attention_to_IO", "pattern_0_0", "pattern_2_1",
    }  # fmt: skip
    page = (run / "attention.html").read_text()
    assert '"start":[0,0]' in page


def test_other_queries_keys_and_prompts(sweep, tmp_path):
    arguments = ("task.n=4", "intervention.query=S2", "intervention.keys=[S1+1,-1]", "intervention.prompts=corrupted")
    outcome = run_attention(sweep, *arguments, "intervention.layer=[1,3]", "intervention.k=2")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    table = pd.read_csv(run / "results.csv")
    assert table["to_-1"].to_numpy() == pytest.approx(0, abs=1e-9)  # END comes after S2
    names = {path.stem for path in (run / "plots").iterdir()}
    assert {"attention_to_S1_plus_1", "patterns_layer_01", "patterns_layer_03"} < names
    assert len(names) == 5
    assert set(table["run"]) == {"corrupted"}


def test_pages_of_the_layers_of_heads_alone(sweep, tmp_path):
    keys = ("task.n=4", "intervention.layer=of_heads", "intervention.heads=['2.1','0.3','2.0']")
    assert run_attention(sweep, *keys).code == 0
    made = {file.stem for file in (only_run_folder(tmp_path) / "plots").glob("patterns_layer_*.png")}
    assert made == {"patterns_layer_00", "patterns_layer_02"}


@pytest.mark.long
def test_the_heads_of_a_patching_run(sweep, tmp_path):
    assert sweep("tracker=none", "task.n=4", "name=patch").code == 0
    (patched,) = (tmp_path / "runs" / "patch").iterdir()
    effects = pd.read_csv(patched / "results.csv").sort_values("recovery", key=abs, ascending=False)
    top = [f"{layer}_{head}" for layer, head in zip(effects["layer"], effects["head"], strict=True)][:3]
    source = f"intervention.from_run={patched}"
    outcome = run_attention(sweep, "task.n=4", "name=look", "intervention.heads=top", "intervention.k=3", source)
    assert outcome.code == 0, outcome.err
    (run,) = (tmp_path / "runs" / "look").iterdir()
    assert {path.stem for path in (run / "plots").glob("pattern_*")} == {f"pattern_{name}" for name in top}
    assert (run / "plots" / "attention_against_effect.png").is_file()
    table = pd.read_csv(run / "results.csv").sort_values("to_IO", ascending=False)
    attending = [f"{layer}_{head}" for layer, head in zip(table["layer"], table["head"], strict=True)][:3]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["overlap"] == len(set(top) & set(attending))
    assert metrics["overlap_by_chance"] == pytest.approx(9 / 16)
    assert f"{metrics['overlap']} of them are among the 3 that attend most to IO" in outcome.out


def test_runs_that_give_no_heads(sweep, tmp_path):
    def line(source, *arguments):
        outcome = run_attention(sweep, "task.n=4", "name=look", f"intervention.from_run={source}", *arguments)
        assert outcome.code == 1
        return outcome.error_line

    assert line("nowhere") == "error: intervention.from_run: 'nowhere' is not a run folder: it has no status.json"
    assert sweep("tracker=none", "task.n=4", "name=patch").code == 0
    (patched,) = (tmp_path / "runs" / "patch").iterdir()
    assert "used another model, tiny-gpt2; expected a run of tiny-pythia" in line(patched, "model=tiny-pythia")
    status = (patched / "status.json").read_text()
    (patched / "status.json").write_text(status.replace("done", "running"))
    assert "is not finished; its status.json does not say done" in line(patched)
    (patched / "status.json").write_text(status)
    (patched / "provenance.json").write_text("{")
    assert "intervention.from_run: cannot read the run in" in line(patched)
    assert sweep("tracker=none", "task.n=4", "name=mlps", "intervention.component=mlp_out").code == 0
    (mlps,) = (tmp_path / "runs" / "mlps").iterdir()
    assert "(patch mlp_out) has no effect per head; expected one of intervention=patch over heads" in line(mlps)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["intervention.heads=top"],
            "intervention.from_run: got None, but heads=top takes its heads from a patching run",
        ),
        (["intervention.heads=['9.9']"], "intervention.heads: got 9.9, expected a head from 0.0 to 3.3 (tiny-gpt2)"),
        (["intervention.query=S3"], "intervention.query: got 'S3', expected one of BOS, "),
        (["intervention.keys=[IO,S7]"], "intervention.keys: got 'S7', expected one of BOS, "),
        (["intervention.keys=[IO,IO]"], "intervention.keys: got ['IO', 'IO'], in which a key stands twice"),
        (["intervention.query=all"], "intervention.query: got 'all', which is not a single position; name a label"),
        (["intervention.layer=7"], "intervention.layer: got 7, expected 0 to 3 (tiny-gpt2)"),
        (["intervention.run=corrupted"], "intervention.run: this key is now intervention.prompts"),
        (["intervention.prompts=both"], "intervention.prompts: got 'both', expected 'clean' or 'corrupted'"),
    ],
)
def test_mistakes_end_in_one_line(sweep, arguments, line):
    outcome = run_attention(sweep, "task.n=4", *arguments)
    assert outcome.code == 1
    assert outcome.error_line.startswith(f"error: {line}")
