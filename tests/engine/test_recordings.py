"""Engines on other prompts, and activations that are kept between passes."""

from __future__ import annotations

import pytest

from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.engine import Engine, run_now
from ioi_lab.models.loading import load_model
from tests.conftest import ioi_task, model_config


@pytest.fixture(scope="module")
def engine(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    return Engine(model, ioi_task(n=6).prompt_pairs(model.tokens))


def test_engines_on_the_same_prompts_are_one(engine):
    assert engine.on(engine.prompts.only(1)) is engine.on(engine.prompts.only(1))
    for index in range(len(engine.prompts)):
        engine.on(engine.prompts.only(index)).baseline("clean")
    assert len(engine._siblings) <= 8


def test_what_was_read_is_not_read_again(engine):
    sites = [Site("z", 1, 2), Site("resid_pre", 2), Site("pattern", 0, 1), Site("q", 1)]
    plain = {site: [] for site in sites}
    for rows, held in engine.stream("clean", sites):
        for site in sites:
            plain[site].append((list(rows), held[site]))
    kept = list(engine.stream_recorded("clean", sites))
    for site in sites:
        for (rows, expected), (kept_rows, held) in zip(plain[site], kept, strict=True):
            assert list(kept_rows) == rows
            assert held[site].numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_reads_that_memory_cannot_keep_are_streamed(folders, monkeypatch):
    model = load_model(model_config(folders["tiny-gpt2"]))
    tight = Engine(model, ioi_task(n=6).prompt_pairs(model.tokens))
    tight._recordings.max_bytes = 1
    streamed = []
    plain = Engine.stream
    monkeypatch.setattr(Engine, "stream", lambda *arguments: streamed.append(1) or plain(*arguments))
    assert len(list(tight.stream_recorded("clean", [Site("z", 0)]))) > 0
    assert streamed == [1]


def test_an_executor_gets_the_edit_sets_and_shares_what_is_known(engine):
    requests = []

    def executor(of, edit_sets, base, progress):
        requests.append((of.prompts, len(edit_sets), base))
        return run_now(of, edit_sets, base, progress)

    own = engine.with_executor(executor)
    baseline = engine.baseline("clean")
    assert own.baseline("clean") is baseline  # measured once for both
    zeroed = own.run([(Edit(Site("z", 1), "zero"),)], "clean")
    assert zeroed.logit_diff == pytest.approx(engine.run([(Edit(Site("z", 1), "zero"),)], "clean").logit_diff)
    one = own.on(engine.prompts.only(0))
    one.baseline("corrupted")
    assert requests == [(engine.prompts, 1, "clean"), (one.prompts, 1, "corrupted")]
    assert one.batch_key != own.batch_key == engine.batch_key
