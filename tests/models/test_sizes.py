"""Configs with sizes that no model has: one line, before anything is allocated, whatever is in a field."""

from __future__ import annotations

import json
import shutil
from itertools import count
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from ioi_lab.errors import LabError
from ioi_lab.models import sizes
from ioi_lab.models.loading import load_model
from ioi_lab.models.sizes import check_sizes
from tests.conftest import model_config

GONE = object()
VALUES = [-1, 0, 3, 10**12, "x", None, GONE]
FIELDS = {
    "gpt2": ["n_embd", "n_head", "n_layer", "n_positions", "vocab_size", "model_type"],
    "llama-gqa": ["head_dim", "hidden_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads"],
}


def with_field(folder: Path, name: str, value: object) -> Path:
    config = json.loads((folder / "config.json").read_text())
    config.pop(name, None)
    (folder / "config.json").write_text(json.dumps(config if value is GONE else config | {name: value}))
    return folder


@pytest.fixture
def copies(tmp_path, random_folders):
    """A function that returns a new copy of a folder each time: a model is loaded once per folder."""
    number = count()
    return lambda name: Path(shutil.copytree(random_folders[name], tmp_path / f"{name}-{next(number)}"))


@pytest.mark.parametrize("name", FIELDS)
def test_whatever_is_in_a_field_the_model_loads_or_one_line_says_why_not(copies, name):
    loaded, lines = 0, []
    for field in FIELDS[name]:
        for value in VALUES:
            folder = with_field(copies(name), field, value)
            try:
                model = load_model(model_config(folder))
            except LabError as error:
                lines.append(str(error))
            else:
                with torch.no_grad():
                    assert model.bridge(torch.zeros(1, 4, dtype=torch.long)).isfinite().all()
                loaded += 1
    assert loaded + len(lines) == len(FIELDS[name]) * len(VALUES)
    assert len(lines) > loaded
    assert all(line.startswith("model.path: ") and "\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("n_layer", -1, r"n_layer in '.*config\.json' is -1, expected a positive integer"),
        ("n_layer", 0, "n_layer in .* is 0, expected a positive integer"),
        ("n_layer", 1_000_000, "n_layer in .* is 1000000, but the weights have 28 tensors"),
        ("n_embd", 1_000_000, r"has [0-9,]+ weights, but the weight files have [0-9,]+; they do not belong together"),
        ("n_positions", 1_000_000, r"has [0-9,]+ weights, but the weight files have"),
        ("vocab_size", 10**9, r"has [0-9,]+ weights, but the weight files have"),
    ],
)
def test_absurd_sizes_are_named(copies, field, value, line):
    folder = with_field(copies("gpt2"), field, value)
    with pytest.raises(LabError, match=rf"^model\.path: .*{line}"):
        load_model(model_config(folder))


def test_weights_in_another_format_do_not_say_how_many_layers_there_are(copies):
    folder = with_field(copies("gpt2"), "n_layer", 1_000_000)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(LabError, match=r"n_layer in .* is 1000000, but no model has more than 10000"):
        check_sizes(AutoConfig.from_pretrained(folder), folder, torch.float32)


def test_a_model_that_does_not_fit_this_machine_is_refused(copies, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"total": 1000}))
    folder = copies("llama-gqa")
    with pytest.raises(LabError, match=r"needs 0\.0 GB, but this machine has 0\.0"):
        check_sizes(AutoConfig.from_pretrained(folder), folder, torch.float32)
    assert sizes._MAX_SHARE > 1
