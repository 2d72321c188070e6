"""The logit lens from the command line: the dashboard of one sentence, curves, a tuned lens."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ioi_lab.tiny.corpus import sentences
from tests.conftest import only_run_folder

TUNED = "lens@intervention.lens=tuned"
SENTENCE = "task.prompt=When James and Robert went to the park, James gave a ball to"


def run_lens(sweep, *arguments):
    return sweep("tracker=none", "intervention=logit_lens", *arguments)


def end_of(table, run, metric):
    position = table["position"].iloc[-1]
    return table[(table["run"] == run) & (table["position"] == position)][metric].to_numpy()


@pytest.mark.parametrize("model", ["tiny-gpt2", "tiny-pythia"])
@pytest.mark.long
def test_one_sentence(sweep, tmp_path, model):
    outcome = run_lens(sweep, f"model={model}", SENTENCE)
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    table = pd.read_csv(run / "results.csv")
    assert len(table) == 2 * 5 * 15  # runs, the embedding and four layers, tokens
    assert end_of(table, "clean", "p_answer")[-1] > 0.9
    assert end_of(table, "clean", "p_answer")[0] < 0.01
    assert end_of(table, "corrupted", "p_distractor")[-1] > 0.9
    assert end_of(table, "corrupted", "p_answer")[-1] < 0.01
    assert end_of(table, "clean", "rank_answer")[-1] == 1
    metrics = json.loads((run / "metrics.json").read_text())
    assert end_of(table, "clean", "logit_diff")[-1] == pytest.approx(metrics["clean_logit_diff"], abs=1e-4)
    assert end_of(table, "corrupted", "logit_diff")[-1] == pytest.approx(metrics["corrupted_logit_diff"], abs=1e-4)
    assert {path.stem for path in (run / "plots").iterdir()} == {
        "dashboard", "by_layer", "top_tokens", "logit_diff_by_position",
    }  # fmt: skip
    top = pd.read_csv(run / "top_tokens.csv", keep_default_na=False)
    assert len(top) == 2 * 5 * 15 * 5
    output = top[(top["run"] == "clean") & (top["component"] == "resid_post") & (top["layer"] == 3)]
    best = output[(output["position"] == 14) & (output["rank"] == 1)].iloc[0]
    assert (best["token"], best["prompt_token"]) == (" Robert", " to")
    assert best["probability"] == pytest.approx(end_of(table, "clean", "p_answer")[-1], abs=1e-5)


@pytest.mark.long
def test_many_prompts_at_labels_with_sublayers(sweep, tmp_path):
    outcome = run_lens(sweep, "task.n=8", "intervention.sublayers=true", "intervention.position=[S2,END]")
    assert outcome.code == 0, outcome.err
    table = pd.read_csv(only_run_folder(tmp_path) / "results.csv")
    assert len(table) == 2 * 9 * 2
    assert list(dict.fromkeys(table["component"])) == ["resid_pre", "resid_mid", "resid_post"]
    for name in ("logit_diff", "p_answer", "rank_answer", "kl", "accuracy"):
        known = table[table[f"{name}_low"].notna()]  # the rank may be the same in all prompts
        assert len(known) >= len(table) / 2
        assert (known[f"{name}_low"] <= known[name] + 1e-12).all()
        assert (known[name] <= known[f"{name}_high"] + 1e-12).all()
    assert "3 attn" in outcome.out


@pytest.mark.long
def test_a_tuned_lens_is_trained_saved_and_used_again(sweep, tmp_path):
    text = tmp_path / "corpus.txt"
    text.write_text(" ".join(sentences(200, seed=1)))
    tuned = ("task.n=4", TUNED)
    outcome = run_lens(sweep, "name=train", *tuned, f"intervention.lens.text={text}", "intervention.lens.steps=20")
    assert outcome.code == 0, outcome.err
    (run,) = (tmp_path / "runs" / "train").iterdir()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["held_out_kl_tuned"] < metrics["held_out_kl_plain"]
    assert "on held-out text, mean over layers" in outcome.out
    assert (run / "plots" / "held_out_kl.png").is_file()
    assert (run / "plots" / "training.png").is_file()
    assert pd.read_csv(run / "training.csv")["step"].tolist() == [0, 20]
    assert "warning: training ended at its maximum of 20 steps" in outcome.out
    translators = f"intervention.lens.translators={run / 'translators.safetensors'}"
    assert run_lens(sweep, "name=again", *tuned, translators).code == 0
    (again,) = (tmp_path / "runs" / "again").iterdir()
    ours, theirs = (pd.read_csv(folder / "results.csv") for folder in (run, again))
    assert np.abs(ours["logit_diff"] - theirs["logit_diff"]).max() < 1e-6
    assert not (again / "translators.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            [TUNED],
            "intervention.lens.text: the tuned lens takes either a file to train on (intervention.lens.text) or "
            "trained translators (intervention.lens.translators), got neither",
        ),
        (
            [TUNED, "intervention.lens.text=a", "intervention.lens.translators=b"],
            "intervention.lens.text: the tuned lens takes either",
        ),
        ([TUNED, "intervention.lens.text=no.txt"], "intervention.lens.text: 'no.txt' is not a file"),
        (
            [TUNED, "intervention.lens.translators=no.safetensors"],
            "intervention.lens.translators: 'no.safetensors' is not a file",
        ),
        ([TUNED, "intervention.lens.steps=0"], "intervention.lens.steps: got 0, expected greater than or equal to 1"),
        (
            [TUNED, "intervention.lens.patience=0"],
            "intervention.lens.patience: got 0, expected greater than or equal to 1",
        ),
        (
            [TUNED, "intervention.lens.evaluate_every=often"],
            "intervention.lens.evaluate_every: got 'often', expected",
        ),
        (["intervention.lens.text=x.txt"], f"intervention.lens.text: this is a key of {TUNED}; expected one of"),
        (["intervention.text=x.txt"], "intervention.text: this key is now intervention.lens.text"),
        (["intervention.lens=tuned"], f"intervention.lens: got 'tuned', but a lens is chosen by {TUNED}"),
        (
            ["intervention.lens=tuned", "intervention.text=x.txt"],
            "intervention.text: this key is now intervention.lens.text",
        ),
        (
            ["intervention.lens._target_=os.path"],
            "intervention.lens._target_: got 'os.path', expected a name in ioi_lab",
        ),
        (["model=tiny-pythia", "intervention.sublayers=true"], "intervention.sublayers: got True, but the blocks of"),
        (["intervention.prompt=99", "task.n=4"], "intervention.prompt: got 99, expected the index of a prompt, 0 to 3"),
        (["intervention.top_k=5000", "task.n=4"], "intervention.top_k: got 5000, expected at most 1082"),
        (["intervention.position=S3", "task.n=4"], "intervention.position: got 'S3', expected one of all, each, BOS"),
        (
            ["intervention.position=all", "task.n=4"],
            "intervention.position: got 'all', but the lens reads one position",
        ),
        (["intervention.scale=cubic"], "intervention.scale: got 'cubic', expected 'auto', 'log' or 'linear'"),
    ],
)
def test_mistakes_end_in_one_line(sweep, arguments, line):
    outcome = run_lens(sweep, *arguments)
    assert outcome.code == 1
    assert outcome.error_line.startswith(f"error: {line}")


def test_a_text_that_is_too_short_to_train_on_is_refused(sweep, tmp_path):
    (tmp_path / "note.txt").write_text("Then John gave")
    outcome = run_lens(sweep, TUNED, "intervention.lens.text=note.txt")
    assert outcome.code == 1
    assert outcome.error_line.startswith("error: intervention.lens.text: ")
    assert "note.txt' has 3 tokens for tiny-gpt2, too short to train on; at least 630" in outcome.error_line
