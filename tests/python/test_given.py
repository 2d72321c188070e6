"""Models as arguments."""

from __future__ import annotations

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import ioi_lab as lab
from ioi_lab.tiny import tiny_folder
from tests.python.conftest import QUICK


@pytest.fixture(scope="module")
def loaded():
    """A model of Transformers with its tokenizer."""
    folder = tiny_folder("tiny-gpt2")
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def test_a_loaded_model_gives_the_results_of_its_folder(loaded, demo, tmp_path):
    run = lab.run(model=loaded, name="demo", **QUICK)
    for column in ("recovery", "recovery_low", "p_value"):
        assert run.table[column].to_numpy() == pytest.approx(demo.table[column].to_numpy(), rel=1e-4)
    assert run.config["model"]["source"] == "memory"
    assert run.provenance["model"]["note"].endswith("config.yaml cannot be run again")
    assert run.provenance["identity"]["weights"] == run.provenance["model"]["weights_sha256"]


def test_the_config_of_such_a_run_says_that_it_cannot_be_run_again(sweep, tmp_path):
    line = sweep("tracker=none", "model.source=memory").error_line
    assert line.startswith("error: model.source: got 'memory', which stands for a model that was given to lab.run(")


def test_a_bridge_and_a_lab_model_are_models(loaded, demo, tmp_path):
    model = lab.load_model("tiny-gpt2")
    run = lab.run(model=model, name="demo", figures=False, **QUICK)
    assert run.config["model"] == demo.config["model"]  # it can be run again
    run = lab.run(model=lab.load_model(*loaded, name="mine").bridge, figures=False, **QUICK)
    assert run.table.recovery.to_numpy() == pytest.approx(demo.table.recovery.to_numpy(), abs=1e-5)
    sweep = lab.sweep("seed=0,1", model=lab.load_model(*loaded, name="mine"), figures=False, **QUICK)
    assert sweep.table["status"].tolist() == ["done", "done"]


def test_a_model_is_loaded_by_name_with_keys(random_folders):
    assert lab.load_model("tiny-pythia").shape.parallel
    model = lab.load_model("folder", path=random_folders["llama-gqa"], device="cpu")
    assert model.shape.n_kv_heads == 2


@pytest.mark.parametrize(
    ("arguments", "keys", "line"),
    [
        (["tiny-gpt3"], {}, "model: got 'tiny-gpt3' (did you mean tiny-gpt2?), expected one of "),
        (["tiny-gpt2"], {"dtyp": "float16"}, "model.dtyp: no such key (did you mean model.dtype?)"),
        (["tiny-gpt2", "x"], {}, "tokenizer: got one, but the model 'tiny-gpt2' is loaded with its own"),
    ],
)
def test_a_mistake_is_one_line(arguments, keys, line):
    with pytest.raises(lab.LabError) as error:
        lab.load_model(*arguments, **keys)
    assert str(error.value).startswith(line)


def test_what_is_no_model_is_refused_before_anything_is_written(loaded, tmp_path):
    for value, line in [
        (loaded[0], "model: got GPT2LMHeadModel without a tokenizer; expected (model, tokenizer)"),
        ((loaded[0], 3), "model: got 3 as its tokenizer, expected a tokenizer of Transformers"),
        ((*loaded, 3), "model: got 3 objects, expected (model, tokenizer)"),
        (3, "model: got 3, expected a causal language model of Transformers with its tokenizer, or a"),
    ]:
        with pytest.raises(lab.LabError) as error:
            lab.run(model=value, tracker="none")
        assert str(error.value).startswith(line)
    assert not list(tmp_path.iterdir())
