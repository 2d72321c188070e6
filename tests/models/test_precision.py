"""Low precision is named by its type: that of the weights in a GGUF file, and that of the computation."""

from __future__ import annotations

import pytest

from ioi_lab.models.loading import load_model, precision_of
from ioi_lab.models.precision import in_low_precision, title_of
from ioi_lab.tiny import tiny_folder
from tests.conftest import model_config
from tests.models.tiny_gguf import write_gguf


@pytest.fixture
def quantized(tmp_path, monkeypatch):
    monkeypatch.setenv("IOI_LAB_CACHE", str(tmp_path / "cache"))
    return {"folder": write_gguf(tmp_path / "tiny.gguf"), "source": "gguf", "name": "small"}


def tiny(**changes):
    return model_config(tiny_folder("tiny-gpt2"), name="tiny-gpt2", **changes)


def test_the_title_of_a_model_has_what_makes_its_precision_low(quantized):
    assert title_of(tiny()) == "tiny-gpt2"
    assert title_of(tiny(dtype="bfloat16")) == "tiny-gpt2 (bfloat16)"
    assert title_of(model_config(**quantized)) == "small (Q4_1 weights)"
    assert precision_of(model_config(**quantized, dtype="float16")) == "Q4_1 weights, float16"
    assert precision_of(tiny()) is None


def test_the_provenance_has_the_type_of_the_weights(quantized):
    found = load_model(model_config(**quantized)).provenance
    assert (found["quantization"], found["license"]) == ("Q4_1", "apache-2.0")
    provenance = load_model(tiny(dtype="bfloat16")).provenance
    assert (provenance["dtype"], provenance["quantization"]) == ("bfloat16", None)


def test_only_models_in_low_precision_are_named(quantized):
    small = model_config(**quantized)
    assert in_low_precision({"model": tiny()}) == []
    assert in_low_precision({"model": small, "intervention.source": tiny()}) == ["small (Q4_1 weights)"]
    both = {"model": tiny(), "intervention.source": tiny(dtype="float16")}
    assert in_low_precision(both) == ["source tiny-gpt2 (float16)"]
