"""Runs in low precision say so: in the terminal, on the last line of every figure's title, and in the provenance."""

from __future__ import annotations

import json
import re

import pytest
from matplotlib.figure import Figure

from tests.conftest import only_run_folder
from tests.models.tiny_gguf import write_gguf


@pytest.fixture
def titles(monkeypatch):
    """The titles of the figures, in one line each, as they are drawn."""
    drawn, plain = [], Figure.suptitle

    def suptitle(figure, text, **keywords):
        drawn.append(" ".join(text.split()))
        return plain(figure, text, **keywords)

    monkeypatch.setattr(Figure, "suptitle", suptitle)
    return drawn


def provenance(folder):
    return json.loads((only_run_folder(folder) / "provenance.json").read_text())


def low_precision_lines(outcome):
    return [line.rpartition("low precision: ")[2] for line in outcome.out.splitlines() if "low precision: " in line]


def test_quantised_weights(sweep, tmp_path, monkeypatch, titles):
    monkeypatch.setenv("IOI_LAB_CACHE", str(tmp_path / "cache"))
    path = write_gguf(tmp_path / "tiny.gguf")
    outcome = sweep("tracker=none", "model=smollm2-135m", "model.name=small", f"model.path={path}", "task.n=4")
    assert outcome.code == 0, outcome.err
    assert low_precision_lines(outcome) == ["small (Q4_1 weights)"]
    assert len(titles) == 2
    assert all("small (Q4_1 weights), ioi (s2), 4 prompts" in title for title in titles)
    model = provenance(tmp_path)["model"]
    assert (model["quantization"], model["dtype"]) == ("Q4_1", "float32")


def test_low_precision_of_the_computation(sweep, tmp_path, titles):
    outcome = sweep("tracker=none", "model.dtype=bfloat16", "task.n=4", "intervention.layer=0")
    assert outcome.code == 0, outcome.err
    assert low_precision_lines(outcome) == ["tiny-gpt2 (bfloat16)"]
    assert titles
    assert all("tiny-gpt2 (bfloat16), ioi (s2), 4 prompts" in title for title in titles)
    assert provenance(tmp_path)["model"]["dtype"] == "bfloat16"


def test_full_precision_is_not_mentioned(sweep, titles):
    outcome = sweep("tracker=none", "task.n=4", "intervention.layer=0")
    assert low_precision_lines(outcome) == []
    assert all("tiny-gpt2, ioi (s2), 4 prompts" in title for title in titles)


@pytest.mark.long
def test_transfer_names_both_models(sweep, tmp_path, titles):
    outcome = sweep(
        "tracker=none",
        "experiment=cross_model",
        "intervention.through=vocabulary",
        "intervention.alignment.source_layers=[3]",
        "intervention.alignment.target_layers=[3]",
        "intervention.scale=[-1,0,1]",
        "intervention.controls=5",
        "intervention.unrelated=39",
        "task.n=16",
        "model.dtype=bfloat16",
        "intervention.source.dtype=float16",
    )
    assert outcome.code == 0, outcome.err
    models = "tiny-pythia (bfloat16), tiny-gpt2 (float16)"
    assert low_precision_lines(outcome) == [models]
    assert titles
    assert all(f"held-out prompts; {models}" in title for title in titles)
    assert provenance(tmp_path)["source_model"]["dtype"] == "float16"


@pytest.mark.long
def test_alignment_names_both_models(train_align, titles):
    outcome = train_align("corpus.n=150", "alignment.source_layers=3", "tracker=none", "source.dtype=bfloat16")
    assert outcome.code == 0, outcome.err
    assert low_precision_lines(outcome) == ["tiny-gpt2 (bfloat16)"]
    assert len(titles) == 5
    assert all(re.search(r"(other texts tried|held-out texts); tiny-gpt2 \(bfloat16\)", title) for title in titles)
