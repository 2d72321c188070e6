"""The memory bound: what is divided under it, and what is reported below it."""

from __future__ import annotations

import pytest

from ioi_lab.engine.budget import MemoryBudget
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.memory import Footprint
from ioi_lab.errors import LabError
from tests.conftest import ARCHITECTURES, ioi_task
from tests.engine.helpers import Calls, steering_grid


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_memory_bound_changes_no_result(setups, architecture):
    model, _, prompts = setups[architecture]
    plan = steering_grid(model.shape)
    large, small = (Engine(model, prompts, bound).run(plan, "clean", progress=False) for bound in (1.0, 0.01))
    assert small.logit_diff == pytest.approx(large.logit_diff, abs=1e-4)


def test_a_memory_bound_below_one_edit_names_what_is_needed(setups):
    model, _, prompts = setups["tiny-gpt2"]
    with pytest.raises(LabError, match=r"engine.memory_gb: got 1e-05, but one edit .* of 1\d tokens needs 0\.0\d+ "):
        Engine(model, prompts, 1e-5).run(steering_grid(model.shape), "clean")


def test_unedited_runs_are_kept_within_the_bound(setups):
    model, _, prompts = setups["tiny-gpt2"]
    plan = [edits for edits in steering_grid(model.shape) if edits[0].site.layer > 0]
    roomy = Engine(model, prompts, 1.0)
    expected = roomy.run(plan, "clean", progress=False)
    size = roomy._recordings.bytes
    tight = Engine(model, prompts, 2 * size / 1e9)  # a quarter of it cannot hold them all
    for engine, is_kept in ((roomy, True), (tight, False)):
        engine.run(plan, "clean", progress=False)
        assert engine._recordings.bytes <= 0.25 * engine.budget.bound
        with Calls(model) as calls:
            again = engine.run(plan, "clean", progress=False)
        assert (calls.positions["block", 0] == 0) == is_kept
        assert again.logit_diff == pytest.approx(expected.logit_diff, abs=1e-4)


PLAN = [(Edit(Site("z", 1, 0), "replace", FromPass("corrupted")),)]


@pytest.fixture(scope="module")
def many(setups):
    """A model and 96 prompts."""
    model = setups["tiny-gpt2"][0]
    return model, ioi_task(n=96).prompt_pairs(model.tokens)


def bytes_of_one_prompt(model, length):
    """What `PLAN` needs: the recorded z of both passes and the streams of layer 1, keys and values, and one slot."""
    footprint = Footprint.of(model)
    sites = [Site("z", 1), Site("resid_pre", 1), Site("z", 1), Site("mlp_out", 1)]
    recorded = footprint.recorded_row(sites, model.shape.n_layers, length)
    return recorded + footprint.batch_row(length, length, vocabulary=True)


def test_buckets_take_as_many_prompts_as_fit_into_three_quarters_of_the_bound(many):
    model, prompts = many
    for n_fit in (1, 2):
        bound = 1.001 * n_fit * bytes_of_one_prompt(model, prompts.longest) / 0.75 / 1e9
        buckets = list(MemoryBudget(model, prompts, bound).buckets(PLAN, []))
        assert max(len(b) for b in buckets if b.length == prompts.longest) == n_fit
        assert sorted(row for b in buckets for row in b.rows) == list(range(len(prompts)))
        assert all(len(prompts[row]) == b.length for b in buckets for row in b.rows)


def test_buckets_get_smaller_with_the_bound_and_with_what_is_captured(many):
    model, prompts = many

    def count(bound, capture=(), plan=PLAN):
        return len(list(MemoryBudget(model, prompts, bound).buckets(plan, capture)))

    counts = [count(bound) for bound in (1.0, 0.003, 0.001, 0.0007)]
    assert counts[0] == len(prompts.buckets())
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    assert count(0.003, [Site("pattern", 0)], PLAN * 10) > count(0.003, [], PLAN * 10)


def test_slots_fall_with_the_bound_and_rise_with_the_start(many):
    model, prompts = many

    def slots(bound, start=0, *, vocabulary=False):
        bucket = next(MemoryBudget(model, prompts, 1.0).buckets(PLAN, []))
        return MemoryBudget(model, prompts, bound).max_slots(bucket, PLAN, [], vocabulary=vocabulary)(start)

    assert slots(1.0) > slots(0.1) > slots(1e-6) == 1
    assert slots(1.0, 8) > slots(1.0, 4) > slots(1.0, 0)
    assert slots(1.0, 12, vocabulary=True) <= slots(1.0, 12)


@pytest.mark.parametrize("method", ["circuit_buckets", "edge_gradient_buckets"])
def test_buckets_for_circuits_get_smaller_with_the_bound_and_with_the_writers(many, method):
    model, prompts = many

    def buckets(bound, n_writers=21):
        return list(getattr(MemoryBudget(model, prompts, bound), method)(n_writers))

    assert len(buckets(1.0)) == len(prompts.buckets())
    assert len(buckets(1.0)) < len(buckets(0.02)) < len(buckets(0.01)) < len(buckets(0.01, 63))
    assert sorted(row for bucket in buckets(0.01) for row in bucket.rows) == list(range(len(prompts)))


def test_a_batch_has_as_many_circuits_as_fit_and_at_least_one(many):
    model, prompts = many
    bucket = max(MemoryBudget(model, prompts, 1.0).circuit_buckets(21), key=len)

    def circuits(bound, n_writers=21):
        return MemoryBudget(model, prompts, bound).max_circuits(bucket, n_writers)

    assert circuits(1.0) > circuits(0.3) > circuits(1e-6) == 1
    assert circuits(1.0, 63) < circuits(1.0)
    rows = len(bucket) * bucket.length * model.shape.d_model
    written = circuits(1.0) * 2 * 4 * 21 * rows  # what writers write, and its sums, in each circuit
    assert 0.3 * 0.75e9 < written < 0.75e9


def test_a_quarter_of_the_bound_is_for_recordings(many):
    model, prompts = many
    budget = MemoryBudget(model, prompts, 0.5)
    assert budget.for_recordings == 0.125e9
    numbers = sum(len(prompt) for prompt in prompts) * model.shape.d_model
    assert budget.recordings_fit([Site("resid_pre", 0), Site("mlp_out", 1)], 2 * 4 * numbers)
    assert not budget.recordings_fit([Site("resid_pre", 0), Site("mlp_out", 1)], 2 * 4 * numbers - 1)


@pytest.mark.parametrize(
    ("method", "arguments", "line"),
    [
        ("buckets", (PLAN, []), r"engine.memory_gb: got 1e-06, but one edit of one prompt of \d+ tokens needs (\S+) "),
        ("gradient_buckets", ([Site("z", 1)],), r"engine.memory_gb: got 1e-06, but the gradients of one prompt of "),
        ("circuit_buckets", (21,), r"engine.memory_gb: got 1e-06, but one circuit on one prompt of \d+ tokens needs "),
        ("edge_gradient_buckets", (21,), r"engine.memory_gb: got 1e-06, but the gradients of one prompt of "),
    ],
)
def test_a_bound_that_is_too_small_names_one_that_is_enough(many, method, arguments, line):
    model, prompts = many
    prompts = prompts.only(0)
    with pytest.raises(LabError, match=line) as raised:
        list(getattr(MemoryBudget(model, prompts, 1e-6), method)(*arguments))
    enough = float(str(raised.value).split(" (")[0].split()[-1])
    (bucket,) = getattr(MemoryBudget(model, prompts, enough), method)(*arguments)
    assert len(bucket) == 1
