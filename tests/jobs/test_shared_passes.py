"""Measurements that share passes give what each gives alone."""

from __future__ import annotations

import contextlib
import threading
import time
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.jobs.shared_passes import MeasurementThread, run_sharing_passes
from ioi_lab.models.loading import load_model
from tests.conftest import ioi_task, model_config


@pytest.fixture(scope="module")
def engine(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    return Engine(model, ioi_task(n=6).prompt_pairs(model.tokens))


def patched(layer, head=None):
    return (Edit(Site("z", layer, head), "replace", FromPass("corrupted")),)


def run_of(engine, layer):
    """A measurement that patches one layer."""
    return lambda executor: engine.with_executor(executor).run([patched(layer)], "clean")


def results(outcomes):
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.result for outcome in outcomes]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4), max_size=5))
def test_each_gets_its_own_part(engine, measurements):
    plans = [[patched(*cell) for cell in cells] for cells in measurements]

    def measure(executor, plan):
        return engine.with_executor(executor).run(plan, "clean", progress=False)

    found = results(run_sharing_passes([partial(measure, plan=plan) for plan in plans]))
    for plan, readout in zip(plans, found, strict=True):
        alone = engine.run(plan, "clean", progress=False)
        assert readout.logit_diff == pytest.approx(alone.logit_diff, abs=1e-4)
        assert readout.kl == pytest.approx(alone.kl, abs=1e-4)


def test_one_pass_a_round_and_base_and_prompts(engine, monkeypatch):
    calls = []
    plain = Engine._execute

    def counted(self, edit_sets, base, capture=()):
        calls.append((self.prompts is engine.prompts, base, len(edit_sets)))
        return plain(self, edit_sets, base, capture)

    monkeypatch.setattr(Engine, "_execute", counted)
    other = engine.on(engine.prompts.only(0))

    def measure(executor, layer):
        own = engine.with_executor(executor)
        first = own.run([patched(layer), patched(0)], "clean")  # patched(0) is asked for by all
        own.run([patched(layer)], "corrupted")
        own.on(other.prompts).run([patched(layer)], "clean")
        return first

    measurements = [partial(measure, layer=layer) for layer in (1, 2, 3)]
    assert len(results(run_sharing_passes(measurements))) == 3
    assert calls == [(True, "clean", 4), (True, "corrupted", 3), (False, "clean", 3)]


def test_measurements_may_ask_for_different_numbers_of_passes(engine):
    def measure(executor, rounds):
        own = engine.with_executor(executor)
        return sum(own.run([patched(1)], "clean").logit_diff.mean() for _ in range(rounds))

    found = results(run_sharing_passes([partial(measure, rounds=rounds) for rounds in (0, 3, 1)]))
    one = engine.run([patched(1)], "clean", progress=False).logit_diff.mean()
    assert found == pytest.approx([0, 3 * one, one], abs=1e-4)


def test_an_error_stays_with_who_has_made_it(engine):
    def bug(executor):
        raise RuntimeError("a bug")

    good, wrong, broken = run_sharing_passes([run_of(engine, 1), run_of(engine, 9), bug])
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
    outcomes = run_sharing_passes([run_of(engine, layer) for layer in (1, 2, 3)])
    assert [type(outcome.error) for outcome in outcomes] == [type(None), LabError, type(None)]


def test_ctrl_c_ends_all(engine, monkeypatch):
    ended = []

    def interrupted(self, edit_sets, base, capture=()):
        raise KeyboardInterrupt

    def measure(executor):
        try:
            run_of(engine, 1)(executor)
        finally:
            ended.append(1)

    monkeypatch.setattr(Engine, "_execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_sharing_passes([measure] * 3)
    assert len(ended) == 3


def test_ctrl_c_while_a_measurement_is_at_work_waits_for_it(engine, monkeypatch):
    events = []

    def measure(executor):
        run_of(engine, 1)(executor)
        events.append("at work")
        time.sleep(0.3)
        try:
            run_of(engine, 2)(executor)
        finally:
            with contextlib.suppress(BaseException):
                run_of(engine, 3)(executor)
            events.append("ended")

    def interrupted(thread, answer):
        thread._answers.put(answer)
        raise KeyboardInterrupt

    monkeypatch.setattr(MeasurementThread, "resume", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run_sharing_passes([measure] * 2)
    assert events == ["at work", "ended"]  # the other one ended at its first request
    assert threading.active_count() == before
