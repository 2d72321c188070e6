"""Measurements together give what each gives alone."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.jobs.shared_passes import Seat, together
from ioi_lab.models.loading import load_model
from tests.conftest import ioi_task, model_config


@pytest.fixture(scope="module")
def engine(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    return Engine(model, ioi_task(n=6).prompt_pairs(model.tokens))


def patched(layer, head=None):
    return (Edit(Site("z", layer, head), "replace", FromPass("corrupted")),)


def results(outcomes):
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.result for outcome in outcomes]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4), max_size=5))
def test_each_gets_its_own_part(engine, measurements):
    plans = [[patched(*cell) for cell in cells] for cells in measurements]
    found = results(together([lambda plan=plan: engine.run(plan, "clean", progress=False) for plan in plans]))
    for plan, readout in zip(plans, found, strict=True):
        alone = engine.run(plan, "clean", progress=False)
        assert readout.logit_diff == pytest.approx(alone.logit_diff, abs=1e-4)
        assert readout.kl == pytest.approx(alone.kl, abs=1e-4)


def test_one_pass_a_round_and_base_and_prompts(engine, monkeypatch):
    calls = []
    plain = Engine._execute

    def counted(self, edit_sets, base, capture=()):
        calls.append((self is engine, base, len(edit_sets)))
        return plain(self, edit_sets, base, capture)

    monkeypatch.setattr(Engine, "_execute", counted)
    other = engine.on(engine.prompts.only(0))

    def measure(layer):
        first = engine.run([patched(layer), patched(0)], "clean")  # patched(0) is asked for by all
        engine.run([patched(layer)], "corrupted")
        other.run([patched(layer)], "clean")
        return first

    assert len(results(together([lambda layer=layer: measure(layer) for layer in (1, 2, 3)]))) == 3
    assert calls == [(True, "clean", 4), (True, "corrupted", 3), (False, "clean", 3)]


def test_measurements_may_ask_for_different_numbers_of_passes(engine):
    def measure(rounds):
        return sum(engine.run([patched(1)], "clean").logit_diff.mean() for _ in range(rounds))

    found = results(together([lambda rounds=rounds: measure(rounds) for rounds in (0, 3, 1)]))
    one = engine.run([patched(1)], "clean", progress=False).logit_diff.mean()
    assert found == pytest.approx([0, 3 * one, one], abs=1e-4)


def test_an_error_stays_with_who_has_made_it(engine):
    def bug():
        raise RuntimeError("a bug")

    measurements = [
        lambda: engine.run([patched(1)], "clean"),
        lambda: engine.run([patched(9)], "clean"),
        bug,
    ]
    good, wrong, broken = together(measurements)
    assert good.error is None
    assert good.result is not None
    assert isinstance(wrong.error, LabError)
    assert isinstance(broken.error, RuntimeError)


def test_a_pass_that_fails_is_tried_for_each_alone(engine, monkeypatch):
    plain = Engine._execute

    def failing(self, edit_sets, base, capture=()):
        if any(edit.site.layer == 2 for edit_set in edit_sets for edit in edit_set):
            raise LabError("engine: this one cannot")
        return plain(self, edit_sets, base, capture)

    monkeypatch.setattr(Engine, "_execute", failing)
    outcomes = together([lambda layer=layer: engine.run([patched(layer)], "clean") for layer in (1, 2, 3)])
    assert [type(outcome.error) for outcome in outcomes] == [type(None), LabError, type(None)]


def test_ctrl_c_ends_all(engine, monkeypatch):
    ended = []

    def interrupted(self, edit_sets, base, capture=()):
        raise KeyboardInterrupt

    def measure():
        try:
            engine.run([patched(1)], "clean")
        finally:
            ended.append(1)

    monkeypatch.setattr(Engine, "_execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        together([measure] * 3)
    assert len(ended) == 3


def test_ctrl_c_while_a_measurement_is_at_work_waits_for_it(engine, monkeypatch):
    events = []

    def measure():
        engine.run([patched(1)], "clean")
        events.append("at work")
        time.sleep(0.3)
        try:
            engine.run([patched(2)], "clean")
        finally:
            with contextlib.suppress(BaseException):
                engine.run([patched(3)], "clean")
            events.append("ended")

    def interrupted(seat, answer):
        seat._answers.put(answer)
        raise KeyboardInterrupt

    monkeypatch.setattr(Seat, "go_on", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        together([measure] * 2)
    assert events == ["at work", "ended"]  # the other one was told to end where it waited first
    assert threading.active_count() == before


def test_engines_on_the_same_prompts_are_one(engine):
    assert engine.on(engine.prompts.only(1)) is engine.on(engine.prompts.only(1))
    for index in range(len(engine.prompts)):
        engine.on(engine.prompts.only(index)).baseline("clean")
    assert len(engine._relatives) <= 8


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
    tight._kept.max_bytes = 1
    streamed = []
    plain = Engine.stream
    monkeypatch.setattr(Engine, "stream", lambda *arguments: streamed.append(1) or plain(*arguments))
    assert len(list(tight.stream_recorded("clean", [Site("z", 0)]))) > 0
    assert streamed == [1]
