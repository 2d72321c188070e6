from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.lenses.logit import read_stream
from ioi_lab.lenses.reading import stream_sites
from ioi_lab.lenses.training import Training, train_translators
from ioi_lab.lenses.translators import load_translators, save_translators
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config

TRAINING = Training(steps=60, batch=64, learning_rate=3e-3, seed=0, evaluate_every=20, patience=3)


@pytest.fixture(scope="module")
def tiny():
    return load_model(model_config(tiny_folder("tiny-pythia")))


@pytest.fixture(scope="module")
def engine(tiny):
    return Engine(tiny, ioi_task(n=4).prompt_pairs(tiny.tokens))


@pytest.fixture(scope="module")
def lens(engine, text):
    return train_translators(engine, stream_sites(engine.shape, sublayers=False), text, TRAINING)


def test_translators_come_back_from_their_file(lens, tiny, engine, text, tmp_path):
    file = tmp_path / "translators.safetensors"
    file.write_bytes(save_translators(lens.translators, tiny, text, TRAINING))
    sites = stream_sites(engine.shape, sublayers=False)
    again = load_translators(file, tiny, sites)
    assert again.keys() == lens.translators.keys() == set(sites[:-1])
    for site, tensors in again.items():
        assert all(torch.equal(a, b) for a, b in zip(tensors, lens.translators[site], strict=True))
    tuned = read_stream(engine, "clean", sites, ["END"], again)
    plain = read_stream(engine, "clean", sites, ["END"], {})
    assert np.abs(tuned.logit_diff[:-1] - plain.logit_diff[:-1]).max() > 0.1
    assert tuned.logit_diff[-1] == pytest.approx(plain.logit_diff[-1], abs=1e-6)


def test_a_translator_is_what_its_equation_says(engine):
    sites = stream_sites(engine.shape, sublayers=False)
    width = engine.shape.d_model
    doubled = {site: (torch.eye(width), torch.ones(width)) for site in sites[:-1]}
    with torch.no_grad():
        activation = engine.record("clean", sites)[sites[1]][0, len(engine.prompts[0]) - 1]
    pair = engine.prompts[0]
    bridge = engine.model.bridge
    logits = bridge.unembed(bridge.ln_final((2 * activation + 1)[None, None]))[0, 0]
    got = read_stream(engine, "clean", sites, ["END"], doubled).logit_diff[1, 0, 0]
    assert got == pytest.approx(float(logits[pair.answer_id] - logits[pair.distractor_id]), abs=1e-4)


def test_another_models_translators_are_refused(lens, tiny, text, tmp_path):
    other = load_model(model_config(tiny_folder("tiny-gpt2"), name="tiny-gpt2"))
    file = tmp_path / "translators.safetensors"
    file.write_bytes(save_translators(lens.translators, tiny, text, TRAINING))
    sites = stream_sites(other.shape, sublayers=False)
    with pytest.raises(LabError, match=r"belongs to another model \(tiny-pythia\); expected tiny-gpt2"):
        load_translators(file, other, sites)
    file.write_bytes(b"not tensors")
    with pytest.raises(LabError, match=r"cannot read .* as safetensors"):
        load_translators(file, other, sites)


def test_translators_of_other_places_are_refused(text, tmp_path):
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    engine = Engine(model, ioi_task(n=2).prompt_pairs(model.tokens))
    lens = train_translators(engine, stream_sites(model.shape, sublayers=False), text, Training(1, 4, 1e-3, 0, 1, 1))
    file = tmp_path / "translators.safetensors"
    file.write_bytes(save_translators(lens.translators, model, text, TRAINING))
    with pytest.raises(LabError, match=r"has no translator for resid_mid\.0"):
        load_translators(file, model, stream_sites(model.shape, sublayers=True))
