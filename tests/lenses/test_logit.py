"""The lens compared with TransformerLens' own, and its last layer with the plain Hugging Face model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformer_lens.tools.analysis import logit_lens

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.lenses.logit import check_readout, read_stream
from ioi_lab.lenses.reading import stream_sites
from tests.conftest import hugging_face, ioi_task


def prompts_of(model, **changes):
    return ioi_task(**{"n": 6} | changes).prompt_pairs(model.tokens)


def theirs(model, tokens, pair, *, sublayers):
    """Return log-probabilities and ranks of answers and distractors by TransformerLens' lens, at every position."""
    targets = [*pair.answer_ids, *pair.distractor_ids]
    result = logit_lens(
        model.bridge,
        torch.tensor([tokens]),
        incl_mid=sublayers,
        positions=None,
        targets=targets,
        return_type="log_probs",
    )
    return result.values[:, 0], result.readout.target_ranks[:, 0]


@pytest.mark.parametrize("sublayers", [False, True])
@pytest.mark.parametrize("run", ["clean", "corrupted"])
def test_it_equals_transformer_lens(model, run, sublayers):
    if sublayers and model.shape.parallel:
        pytest.skip("nothing lies between attention and MLP in parallel blocks")
    prompts = prompts_of(model)
    assert len(prompts.buckets()) > 1
    labels = ["IO", "S2", "END"]
    sites = stream_sites(model.shape, sublayers=sublayers)
    reading = read_stream(Engine(model, prompts), run, sites, labels, {})
    for row, pair in enumerate(prompts):
        tokens = pair.clean_tokens if run == "clean" else pair.corrupted_tokens
        log_probs, ranks = theirs(model, tokens, pair, sublayers=sublayers)
        at = [pair.labels[label] for label in labels]
        expected = log_probs[:, at].numpy()
        assert reading.logit_diff[:, :, row] == pytest.approx(expected[..., 0] - expected[..., 1], abs=1e-4)
        assert reading.p_answer[:, :, row] == pytest.approx(np.exp(expected[..., 0]), abs=1e-4)
        assert reading.p_distractor[:, :, row] == pytest.approx(np.exp(expected[..., 1]), abs=1e-4)
        rank_errors = np.abs(reading.rank_answer[:, :, row] - 1 - ranks[:, at, 0].numpy())
        assert rank_errors.max() <= 1  # near ties may turn
        assert (rank_errors == 0).mean() > 0.9


@pytest.mark.parametrize("run", ["clean", "corrupted"])
def test_the_last_layer_is_the_models_output(model, run):
    prompts = prompts_of(model)
    reading = read_stream(Engine(model, prompts), run, stream_sites(model.shape, sublayers=False), ["END"], {})
    plain = hugging_face(model.folder)
    for row, pair in enumerate(prompts):
        tokens = pair.clean_tokens if run == "clean" else pair.corrupted_tokens
        with torch.no_grad():
            logits = plain(torch.tensor([tokens])).logits[0, -1]
        difference = logits[pair.answer_id] - logits[pair.distractor_id]
        assert reading.logit_diff[-1, 0, row] == pytest.approx(float(difference), abs=1e-4)
        assert reading.p_answer[-1, 0, row] == pytest.approx(float(logits.softmax(-1)[pair.answer_id]), abs=1e-5)
    assert reading.kl[-1] == pytest.approx(0, abs=1e-6)
    assert (reading.kl[:-1] > 0).all()


def test_a_model_that_the_lens_cannot_read_is_refused(model, monkeypatch):
    engine = Engine(model, prompts_of(model, n=2))
    last = stream_sites(model.shape, sublayers=False)[-1]
    check_readout(engine, "clean", last)  # which also runs the baseline, before the norm is changed
    monkeypatch.setattr(type(model.bridge.ln_final), "forward", lambda norm, stream: 2 * stream)
    with pytest.raises(LabError, match=r"the lens cannot read .*: it does more than a norm and an unembedding"):
        check_readout(engine, "clean", last)
