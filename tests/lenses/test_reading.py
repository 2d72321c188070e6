"""What any lens reads of prompts: one prompt at every position, all prompts at some."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from transformer_lens.tools.analysis import logit_lens

from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from ioi_lab.lenses.logit import lens_log_probs
from ioi_lab.lenses.reading import kl_divergence, read_positions, read_prompt, reads_output, stream_sites
from tests.engine.test_targets import with_sets
from tests.lenses.test_logit import prompts_of, theirs


def plain(model):
    return partial(lens_log_probs, model.bridge, translators={})


def test_sites_are_the_stream_from_the_embedding_to_the_output(model):
    n_layers = model.shape.n_layers
    plain_sites = stream_sites(model.shape, sublayers=False)
    assert plain_sites == [Site("resid_pre", 0), *(Site("resid_post", layer) for layer in range(n_layers))]
    with_sublayers = stream_sites(model.shape, sublayers=True)
    assert [site for site in with_sublayers if site.component != "resid_mid"] == plain_sites
    assert with_sublayers[1:3] == [Site("resid_mid", 0), Site("resid_post", 0)]
    assert len(with_sublayers) == 1 + 2 * n_layers


def test_the_divergence_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    model, lens = (torch.randn(3, 7, generator=generator).log_softmax(-1) for _ in range(2))
    expected = torch.nn.functional.kl_div(lens, model, reduction="none", log_target=True).sum(-1)
    assert torch.allclose(kl_divergence(model, lens), expected, atol=1e-6)


def test_one_prompt_at_every_position(model):
    prompts = prompts_of(model)
    sites = stream_sites(model.shape, sublayers=False)
    top = read_prompt(Engine(model, prompts), "clean", 1, sites, plain(model), top_k=3)
    log_probs, _ = theirs(model, prompts[1].clean_tokens, prompts[1], sublayers=False)
    assert top.p_answer == pytest.approx(log_probs[..., 0].exp().numpy(), abs=1e-4)
    assert top.p_distractor == pytest.approx(log_probs[..., 1].exp().numpy(), abs=1e-4)
    best = logit_lens(
        model.bridge, torch.tensor([prompts[1].clean_tokens]), positions=None, top_k=3, return_type="probs"
    ).readout
    assert top.probabilities == pytest.approx(best.values[:, 0].numpy(), abs=1e-4)
    assert (top.ids == best.top_ids[:, 0].numpy()).mean() > 0.97  # near ties may turn


def test_the_rank_of_a_set_is_that_of_its_likeliest_answer(model):
    prompts = with_sets(prompts_of(model, n=3))
    sites, engine = stream_sites(model.shape, sublayers=False), Engine(model, prompts)
    reading = read_positions(engine, "clean", sites, ["S2", "END"], plain(model))
    for row, pair in enumerate(prompts):
        places, n_answers = [pair.labels["S2"], len(pair) - 1], len(pair.answer_ids)
        log_probs, ranks = (each[:, places] for each in theirs(model, pair.clean_tokens, pair, sublayers=False))
        answer, distractor = log_probs[..., :n_answers].logsumexp(-1), log_probs[..., n_answers:].logsumexp(-1)
        assert reading.logit_diff[:, :, row] == pytest.approx((answer - distractor).numpy(), abs=2e-4)
        assert reading.p_answer[:, :, row] == pytest.approx(answer.exp().numpy(), abs=1e-4)
        best = ranks[..., :n_answers].min(-1).values.numpy()
        assert (reading.rank_answer[:, :, row] == best + 1).mean() > 0.8  # near ties may turn
    top = read_prompt(engine, "clean", 1, sites, plain(model), top_k=3)
    assert top.p_answer[:, -1] == pytest.approx(reading.p_answer[:, 1, 1], abs=1e-4)


def test_batches_change_nothing(model, monkeypatch):
    prompts = prompts_of(model)
    sites = stream_sites(model.shape, sublayers=False)
    together = read_positions(Engine(model, prompts), "clean", sites, ["S2", "END"], plain(model))
    monkeypatch.setattr("ioi_lab.lenses.reading._BYTES_PER_BATCH", 1)
    alone = read_positions(Engine(model, prompts), "clean", sites, ["S2", "END"], plain(model))
    assert together.logit_diff == pytest.approx(alone.logit_diff, abs=1e-4)
    assert together.kl == pytest.approx(alone.kl, abs=1e-4)


def test_the_output_is_read_at_the_last_site_only(model):
    engine = Engine(model, prompts_of(model, n=2))
    sites = stream_sites(model.shape, sublayers=False)
    assert reads_output(engine, "clean", sites, plain(model))
    assert reads_output(engine, "corrupted", sites[-1:], plain(model))
    assert not reads_output(engine, "clean", sites[:-1], plain(model))
    assert not reads_output(engine, "clean", sites, lambda stream, sites: plain(model)(-stream, sites))
