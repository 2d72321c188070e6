"""Directions through a vocabulary: what is read, what is shared, and known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.steering.vectors import activations_at
from ioi_lab.transfer.vocabulary import SharedVocabulary, Translator, token_readout
from tests.conftest import ioi_task


def test_shared_tokens_stand_for_the_same_text(both):
    first, second = (model.tokens for model in both)
    shared = SharedVocabulary.of(first, second)
    assert len(shared.source) == len(set(shared.source.tolist())) == len(set(shared.target.tolist())) > 500
    for one, other in zip(shared.source, shared.target, strict=True):
        assert first.strings((int(one),)) == second.strings((int(other),))
    assert first.single(" Mary") in shared.source
    assert not set(shared.source.tolist()) & set(first.tokenizer.all_special_ids)


def test_vocabularies_without_a_token_in_common_are_reported(both):
    class Strange:
        tokenizer = both[0].tokens.tokenizer

        def strings(self, ids):
            return tuple(f"<{token}>" for token in ids)

    with pytest.raises(LabError, match="shares no token"):
        SharedVocabulary.of(Strange(), both[1].tokens)


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-pythia"])
def test_the_readout_of_a_small_step_is_the_models_own(both, name):
    """The derivative of logits − mean logit along a direction that leaves the norm's scale, at the mean activation."""
    model = next(model for model in both if model.shape.name == name)
    engine = Engine(model, ioi_task(n=8).prompt_pairs(model.tokens))
    read = token_readout(engine)
    last = Site("resid_post", model.shape.n_layers - 1, None, "END")
    mean = np.mean([activations_at(engine, run, [last])[last].mean(axis=0) for run in ("clean", "corrupted")], axis=0)
    centred = mean - mean.mean()
    direction = np.random.default_rng(0).standard_normal(len(mean))
    direction -= direction.mean()
    direction -= centred * (centred @ direction) / (centred @ centred)
    step = 1e-2 * direction
    with torch.no_grad():
        logits = [
            model.bridge.unembed(model.bridge.ln_final(torch.from_numpy(stream).float()[None, None]))[0, 0].double()
            for stream in (mean + step, mean - step)
        ]
    change = ((logits[0] - logits[1]) / 2).numpy()[: len(read)]
    assert read @ step == pytest.approx(change - change.mean(), abs=5e-4)
    assert np.abs(read @ step).max() > 0.1


def test_a_direction_comes_back_from_a_rotated_copy_of_its_readout():
    rng = np.random.default_rng(0)
    source = rng.standard_normal((300, 10))
    rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    order = rng.permutation(300)
    target = (source @ rotation)[order]  # the same tokens under other ids
    shared = SharedVocabulary(order, np.arange(300))
    direction = rng.standard_normal(10)
    found = Translator(source, target, shared).translate(direction)
    expected = direction @ rotation
    assert found @ expected / (np.linalg.norm(found) * np.linalg.norm(expected)) > 0.99
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(expected), rel=0.05)
    assert Translator(source, target, shared).shared_mass(direction) == pytest.approx(1)
    rng = np.random.default_rng(1)
    shuffled = [Translator(source, target, shared).translate(direction, rng) for _ in range(20)]
    cosines = [other @ expected / (np.linalg.norm(other) * np.linalg.norm(expected)) for other in shuffled]
    assert np.abs(cosines).mean() < 0.45


def test_the_shared_mass_is_that_of_the_tokens_that_are_moved():
    source = np.array([[4.0], [-2.0], [-2.0]])
    translator = Translator(source, np.eye(2, 1), SharedVocabulary(np.array([0]), np.array([1])))
    assert translator.shared_mass(np.array([1.0])) == pytest.approx(0.5)
    assert translator.shared_mass(np.array([0.0])) == 0
    assert translator.translate(np.array([0.0])).tolist() == [0.0]
