"""The tuned lens as a config: its sources, its checks, and that it reads by its equation."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.lenses.logit import lens_log_probs
from ioi_lab.lenses.reading import stream_sites
from ioi_lab.lenses.tuned import TunedLens
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from ioi_lab.tiny.corpus import sentences
from tests.conftest import ioi_task, model_config


@pytest.fixture(scope="module")
def engine():
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    return Engine(model, ioi_task(n=2).prompt_pairs(model.tokens))


@pytest.mark.parametrize(("sources", "count"), [({}, "neither"), ({"text": "a", "translators": "b"}, "both")])
def test_it_takes_one_source(sources, count):
    with pytest.raises(LabError, match=rf"^lens\.text: the tuned lens takes either .*, got {count}$"):
        TunedLens.from_config(sources, "lens")


@pytest.mark.parametrize("key", ["text", "translators"])
def test_a_missing_file_is_named_with_its_key(key, tmp_path):
    with pytest.raises(LabError, match=rf"^lens\.{key}: '.*none' is not a file$"):
        TunedLens.from_config({key: str(tmp_path / "none")}, "lens").check()


def test_a_lens_that_was_trained_comes_back_from_its_file(engine, tmp_path):
    text = tmp_path / "corpus.txt"
    text.write_text(" ".join(sentences(120, seed=2)))
    sites = stream_sites(engine.shape, sublayers=False)
    lens = TunedLens(text=str(text), steps=3, batch=16, seed=1)
    lens.check()
    fitted = lens.fit(engine, sites)
    assert fitted.held_out is not None
    assert (fitted.held_out.text, fitted.held_out.plain.shape[0]) == ("corpus.txt", len(sites))
    file = tmp_path / "translators.safetensors"
    file.write_bytes(fitted.files["translators.safetensors"])
    again = TunedLens(translators=str(file)).fit(engine, sites)
    assert (again.held_out, again.files) == (None, {})
    stream = torch.randn(len(sites), 5, engine.shape.d_model, generator=torch.Generator().manual_seed(0))
    bridge = engine.model.bridge
    read = lens.log_probs(fitted.state, bridge, stream, sites)
    assert torch.equal(read, lens.log_probs(again.state, bridge, stream, sites))
    moved = [
        h + h @ fitted.state[site][0].T + fitted.state[site][1] for h, site in zip(stream, sites[:-1], strict=False)
    ]
    by_hand = lens_log_probs(bridge, torch.stack([*moved, stream[-1]]), sites, {})
    assert torch.allclose(read, by_hand, atol=1e-5)


def test_the_seed_chooses_the_batches(engine, tmp_path):
    text = tmp_path / "corpus.txt"
    text.write_text(" ".join(sentences(120, seed=2)))
    sites = stream_sites(engine.shape, sublayers=False)
    biases = [
        TunedLens(text=str(text), steps=1, batch=8, seed=seed).fit(engine, sites).state[sites[1]][1]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(biases[0], biases[1])
    assert not torch.equal(biases[0], biases[2])
