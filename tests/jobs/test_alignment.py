"""train_align.py from the command line."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml

from ioi_lab.alignment import reading, training, training_checkpoint
from ioi_lab.alignment.training_checkpoint import TRAINING
from ioi_lab.runs.pages import page_of
from tests.alignment.conftest import interrupt_at_third_chunk
from tests.conftest import only_run_folder, run_folders
from tests.reports.checks import check_texts

SMALL = (
    "alignment.stitched_texts=0",
    "corpus.n=150",
    "alignment.source_layers=[2,3]",
    "alignment.target_layers=[3]",
    "tracker=none",
)


def read(run):
    return json.loads((run / "metrics.json").read_text()), pd.read_csv(run / "results.csv")


@pytest.mark.parametrize("method", ["ridge", "procrustes", "lowrank", "anchors", "mean_shift"])
def test_a_run_leaves_maps_and_what_they_are_worth(train_align, tmp_path, method):
    outcome = train_align(*SMALL, f"alignment={method}")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    check_texts(page_of(run))
    metrics, table = read(run)
    assert list(table["direction"]) == ["tiny-gpt2 → tiny-pythia"] * 2 + ["tiny-pythia → tiny-gpt2"] * 2
    assert list(table["source_layer"]) == [2, 3, 3, 3]
    assert list(table["layer"]) == [3, 3, 2, 3]
    assert metrics["n_maps"] == 4
    assert metrics["n_texts"] + metrics["n_held_out_texts"] == 150
    best = table[table["direction"].str.startswith("tiny-gpt2")]["r2"].max()
    assert metrics["forward_best_r2"] == pytest.approx(best)
    assert metrics["forward_best_r2_low"] <= best <= metrics["forward_best_r2_high"]
    assert table["error_to_mean"].between(0, 1.01).all() == (method != "mean_shift")
    if method == "ridge":
        assert best > 0.9
        assert (table["r2_shuffled"] <= 0.01).all()
    assert (run / "maps.safetensors").is_file()
    assert {path.name for path in (run / "plots").iterdir()} == {
        "r2_by_layers.png", "controls_forward.png", "controls_backward.png"
    }  # fmt: skip
    provenance = json.loads((run / "provenance.json").read_text())
    assert {provenance[side]["name"] for side in ("source", "target")} == {"tiny-gpt2", "tiny-pythia"}
    assert not (run / reading.CHECKPOINT).exists()


def test_a_run_can_be_repeated_from_its_folder(train_align, tmp_path):
    assert train_align("name=first", *SMALL).code == 0
    first = only_run_folder(tmp_path)
    assert "python train_align.py --config-dir" in (first / "config.yaml").read_text()
    outcome = train_align("--config-dir", str(first), "--config-name", "config", "name=second")
    assert outcome.code == 0, outcome.err
    second = next(run for run in run_folders(tmp_path) if "second" in run.parts)
    assert read(first)[0] == read(second)[0]


@pytest.mark.long
def test_an_interrupted_run_says_how_to_go_on_and_does(train_align, tmp_path, monkeypatch):
    sizes = ("corpus.n=450", *SMALL[1:])
    assert train_align("name=whole", *sizes).code == 0
    interrupt_at_third_chunk(monkeypatch)
    outcome = train_align("name=cut", *sizes)
    assert outcome.code == 130
    cut = next(run for run in run_folders(tmp_path) if "cut" in run.parts)
    assert json.loads((cut / "status.json").read_text())["status"] == "failed"
    command = next(line for line in outcome.out.splitlines() if "to go on: " in line).split("train_align.py ")[1]
    outcome = train_align(*command.split(), "name=resumed")
    assert outcome.code == 0, outcome.err
    assert "continuing after" in outcome.out
    whole, resumed = (next(run for run in run_folders(tmp_path) if name in run.parts) for name in ("whole", "resumed"))
    assert read(whole)[0] == read(resumed)[0]
    assert yaml.safe_load((resumed / "config.yaml").read_text())["resume_from"] == str(cut)


def test_few_positions_per_dimension_are_reported_with_their_ratio(train_align, tmp_path):
    outcome = train_align(*SMALL, "corpus.n=40")
    assert outcome.code == 0, outcome.err
    found, _ = read(only_run_folder(tmp_path))
    warning = next(line for line in outcome.out.splitlines() if line.startswith("warning"))
    assert f"{int(found['n_parameters']):,} parameters" in warning
    assert f"{int(found['n_positions']):,} positions" in warning
    assert f"{found['n_positions'] / 129:.1f} per dimension" in warning


def test_one_model_twice_is_noted(train_align):
    outcome = train_align(*SMALL, "model@target=tiny-gpt2")
    assert "source and target are the same model" in outcome.out


@pytest.mark.long
def test_a_grid_is_one_run_a_method(train_align, tmp_path):
    outcome = train_align("-m", *SMALL, "alignment=ridge,lowrank", "alignment.rank=4")
    assert outcome.code == 0, outcome.err
    runs = run_folders(tmp_path)
    assert len(runs) == 2
    captions = json.loads((runs[0].parent / "report.json").read_text())["captions"]
    assert captions
    assert all("95 % intervals over texts" in caption for caption in captions.values())


TRAINED = (
    "corpus.n=120", "alignment.source_layers=[2]", "alignment.target_layers=[3]", "alignment.steps=12", "tracker=none",
    "alignment.evaluate_every=4", "alignment.stitched_texts=10",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("method", ["affine_trained", "mlp"])
def test_trained_maps_leave_their_losses(train_align, tmp_path, method):
    outcome = train_align(*TRAINED, f"alignment={method}")
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    check_texts(page_of(run))
    curve = pd.read_csv(run / "training.csv")
    assert list(curve["step"].unique()) == [0, 4, 8, 12]
    assert curve.groupby("direction")["kept"].sum().tolist() == [1, 1]
    first, last = (curve[curve["step"] == step]["training_loss"].to_numpy() for step in (0, 12))
    assert (last < first).all()
    assert {"training_forward.png", "training_backward.png", "stitched_forward.png", "stitched_backward.png"} <= {
        path.name for path in (run / "plots").iterdir()
    }
    metrics, table = read(run)
    assert metrics["n_stitched_texts"] == 10
    assert metrics["forward_best_stitched_kl"] < metrics["forward_best_mean_ablated_kl"]
    assert (table["mean_ablated_loss"] > table["own_loss"]).all()
    assert not (run / TRAINING).exists()
    assert not (run / reading.CHECKPOINT).exists()


@pytest.mark.long
def test_a_training_that_is_interrupted_goes_on_to_the_same_maps(train_align, tmp_path, monkeypatch):
    monkeypatch.setattr(training_checkpoint, "_SECONDS", 0.0)
    monkeypatch.setattr(training_checkpoint, "_SHARE", 0)
    trained = (*TRAINED, "alignment=affine_trained", "alignment.stitched_texts=0", "figures=false")
    assert train_align("name=whole", *trained).code == 0
    plain, steps = training._step, []

    def interrupting(*arguments):
        steps.append(1)
        if len(steps) == 18:  # in the second map, after an evaluation
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(training, "_step", interrupting)
    outcome = train_align("name=cut", *trained)
    assert outcome.code == 130
    cut = next(run for run in run_folders(tmp_path) if "cut" in run.parts)
    assert not (cut / "maps.safetensors").exists()
    command = next(line for line in outcome.out.splitlines() if "to go on: " in line).split("train_align.py ")[1]
    outcome = train_align(*command.split(), "name=resumed")
    assert outcome.code == 0, outcome.err
    assert len(steps) == 18 + 8
    whole, resumed = (next(run for run in run_folders(tmp_path) if name in run.parts) for name in ("whole", "resumed"))
    assert read(whole)[0] == read(resumed)[0]
    assert (whole / "training.csv").read_text() == (resumed / "training.csv").read_text()


@pytest.mark.long
def test_a_training_that_diverges_leaves_no_maps(train_align, tmp_path):
    outcome = train_align(*TRAINED, "alignment=affine_trained", "alignment.learning_rate=100")
    assert outcome.code == 1
    assert "alignment.learning_rate: got 100, but the training of the map from layer 2 of" in outcome.error_line
    assert not (only_run_folder(tmp_path) / "maps.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["alignment=none"],
            "alignment: got 'none', expected one of affine_trained, anchors, lowrank,",
        ),
        (["alignment.rank=0"], "alignment.rank: got 0, expected greater than or equal to 1"),
        (["alignment.source_layers=9"], "alignment.source_layers: got 9, expected 0 to 3 (tiny-gpt2)"),
        (["model@source=folder", "source.path=nowhere"], "source.path: 'nowhere' is not a folder"),
        (["model@target.device=tpu"], "model@target.device: no such key"),
        (["target.device=tpu"], "target.device: got 'tpu', expected one of auto"),
        (["corpus=text", "corpus.path=none.txt"], "corpus.path: 'none.txt' is not a file"),
        (["corpus=text"], "corpus.path: this key has no value yet"),
        (["resume_from=nowhere"], "resume_from: 'nowhere' does not contain checkpoint.safetensors"),
        (["alignment.held_out=1.5"], "alignment.held_out: got 1.5, expected less than 1"),
        (["alignment.layer=1"], "alignment.layer: no such key"),
        (["alignment.layers=near"], "alignment.layers: got 'near', expected 'all', 'depth' or 'best'"),
        (["alignment.positions=labels"], "the texts of tiny english have no labels; expected 'all' or"),
    ],
)
def test_mistakes_are_one_line(train_align, arguments, line):
    outcome = train_align("tracker=none", *arguments)
    assert outcome.code == 1
    assert line in outcome.error_line
