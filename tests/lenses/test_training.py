"""The training of the tuned lens: when it stops, what it keeps, and on which text it is judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ioi_lab.engine.engine import Engine
from ioi_lab.lenses import training
from ioi_lab.lenses.logit import lens_log_probs
from ioi_lab.lenses.reading import stream_sites
from ioi_lab.lenses.training import LEAST_FALL, Plateau, Training, train_translators
from ioi_lab.models.loading import load_model
from ioi_lab.tasks.text import text_pieces
from ioi_lab.tiny import tiny_folder
from ioi_lab.tiny.corpus import sentences
from tests.conftest import ioi_task, model_config

TRAINING = Training(steps=60, batch=64, learning_rate=3e-3, seed=0, evaluate_every=20, patience=3)


@pytest.fixture(scope="module")
def engine():
    model = load_model(model_config(tiny_folder("tiny-pythia")))
    return Engine(model, ioi_task(n=4).prompt_pairs(model.tokens))


@pytest.fixture(scope="module")
def sites(engine):
    return stream_sites(engine.shape, sublayers=False)


@pytest.fixture(scope="module")
def trained(engine, sites, text):
    return train_translators(engine, sites, text, TRAINING)


def test_training_brings_the_lens_nearer_to_the_model(trained):
    plain, tuned = trained.held_out.plain.mean(axis=1), trained.held_out.trained.mean(axis=1)
    assert plain[-1] == pytest.approx(0, abs=1e-5)
    assert tuned[-1] == pytest.approx(0, abs=1e-5)
    assert (tuned[:-1] < 0.7 * plain[:-1]).all()


def test_the_plain_kl_is_that_of_untrained_translators(engine, sites, text):
    untrained = train_translators(engine, sites, text, replace(TRAINING, steps=1, learning_rate=1e-12))
    assert untrained.held_out.trained == pytest.approx(untrained.held_out.plain, abs=1e-5)


def test_training_that_ends_at_its_maximum_has_not_converged(trained):
    assert trained.curve.steps.tolist() == [0, 20, 40, 60]
    assert not trained.curve.has_converged
    assert trained.curve.kept == 3
    assert trained.curve.kl.shape == (4, 4)
    assert (np.diff(trained.curve.mean) < 0).all()


@pytest.mark.long
def test_training_stops_when_the_kl_no_longer_falls(engine, sites, tmp_path):
    """With so little text the translators learn it by heart, and get worse on other text."""
    file = tmp_path / "short.txt"
    file.write_text(" ".join(sentences(45, seed=5)))
    long = replace(TRAINING, steps=2000, learning_rate=1e-2)
    trained = train_translators(engine, sites, file, long)
    curve = trained.curve
    assert curve.has_converged
    assert curve.steps[-1] < 600
    assert curve.mean[curve.kept] == curve.mean.min()
    assert 0 < curve.kept < len(curve.steps) - 1
    again = train_translators(engine, sites, file, replace(long, steps=int(curve.steps[curve.kept])))
    for site, tensors in again.translators.items():  # the state of that step, and not the last one
        assert all(torch.equal(a, b) for a, b in zip(tensors, trained.translators[site], strict=True))


def test_a_training_that_only_does_harm_leaves_the_plain_lens(engine, sites, text):
    trained = train_translators(engine, sites, text, replace(TRAINING, learning_rate=10.0))
    assert trained.curve.kept == 0
    assert not any(tensor.any() for pair in trained.translators.values() for tensor in pair)
    assert trained.held_out.trained == pytest.approx(trained.held_out.plain)


def test_no_text_is_used_twice(engine, sites, text, monkeypatch):
    """Training, stopping and the comparison divide the pieces of the text among themselves."""
    seen = {}

    def fit(model, stream, stopping, sites, settings):
        seen.update(training=stream[-1].unflatten(0, (-1, stopping.shape[2])), stopping=stopping[-1])
        return {}, None

    def kl(model, stream, sites, translators):
        seen["comparison"] = stream[-1]
        return np.zeros(stream.shape[:2])

    monkeypatch.setattr(training, "_fit", fit)
    monkeypatch.setattr(training, "_kl", kl)
    train_translators(engine, sites, text, TRAINING)
    n_pieces = len(text_pieces(engine.model, text, "lens.text", training.MAX_TOKENS))
    assert [len(seen[name]) for name in ("comparison", "stopping")] == [round(0.2 * n_pieces), round(0.1 * n_pieces)]
    ends = [tuple(piece[-1].tolist()) for pieces in seen.values() for piece in pieces]
    assert len(set(ends)) == len(ends) == n_pieces


def test_the_curve_is_that_of_a_loop_over_tokens(engine, sites, text):
    curve = train_translators(engine, sites, text, replace(TRAINING, steps=1, learning_rate=1e-12)).curve
    pieces = text_pieces(engine.model, text, "lens.text", training.MAX_TOKENS)
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0)).tolist()
    first = round(training.HELD_OUT * len(pieces))
    chosen = order[first : first + round(training.STOPPING * len(pieces))]
    streams = engine.on(pieces).record("clean", sites)
    kls = []
    for piece in chosen:
        stream = torch.stack([streams[site][piece, 1:] for site in sites])
        log_probs = lens_log_probs(engine.model.bridge, stream, sites, {})
        kls.append((log_probs[-1].exp() * (log_probs[-1] - log_probs[:-1])).sum(-1).mean(-1))
    assert curve.kl[0] == pytest.approx(torch.stack(kls).mean(0).numpy(), abs=1e-4)


@pytest.mark.parametrize(
    ("values", "reached"),
    [
        ([3, 2, 1, 0.5], [False] * 4),
        ([3, 3, 3], [False, False, True]),
        ([3, 3, 2, 2.5, 2], [False, False, False, False, True]),
        ([1, 1 - LEAST_FALL / 2, 1 - 2 * LEAST_FALL, 1], [False] * 4),
        ([float("nan"), float("nan")], [False, True]),
    ],
)
def test_a_plateau_is_as_many_evaluations_without_a_fall(values, reached):
    plateau = Plateau(2)
    assert [plateau.reached_with(value) for value in values] == reached
