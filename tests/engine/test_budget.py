"""The memory bound: what is divided under it, and what is reported below it."""

from __future__ import annotations

import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from tests.conftest import ARCHITECTURES
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
        assert engine._recordings.bytes <= 0.25 * engine._budget.bound
        with Calls(model) as calls:
            again = engine.run(plan, "clean", progress=False)
        assert (calls.positions["block", 0] == 0) == is_kept
        assert again.logit_diff == pytest.approx(expected.logit_diff, abs=1e-4)
