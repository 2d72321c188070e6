"""Whole passes and parts of them against the plain model, and a count of what parts compute."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from tests.conftest import ARCHITECTURES
from tests.engine.helpers import Calls


@pytest.mark.parametrize("architecture", ARCHITECTURES)
class TestNothingIsRunThatCannotChange:
    """Positions that are computed in a second run, for which the unedited runs are kept from the first."""

    def counted(self, setups, architecture, plan, base="clean"):
        model, _, prompts = setups[architecture]
        engine = Engine(model, prompts)
        engine.run(plan, base, progress=False)
        with Calls(model) as calls:
            engine.run(plan, base, progress=False)
        return model.shape, prompts, calls.positions

    def test_earlier_blocks_and_positions(self, setups, architecture):
        plan = [(Edit(Site("resid_pre", 1, position="END"), "scale", scale=float(i)),) for i in range(5)]
        shape, prompts, counts = self.counted(setups, architecture, plan)
        assert counts["block", 0] == 0
        assert all(counts["block", layer] == 5 * len(prompts) for layer in range(1, shape.n_layers))

    def test_attention_before_the_edit(self, setups, architecture):
        shape, prompts, counts = self.counted(setups, architecture, [(Edit(Site("z", 1, 0, "END"), "zero"),)])
        assert counts["q", 1] == 0
        assert counts["mlp", 1] == (0 if shape.parallel else len(prompts))
        assert counts["q", 2] == counts["mlp", 2] == len(prompts)

    def test_all_but_end_in_the_last_block(self, setups, architecture):
        shape, prompts, counts = self.counted(setups, architecture, [(Edit(Site("resid_pre", 0), "zero"),)])
        last = shape.n_layers - 1
        assert counts["block", last] == sum(len(pair) for pair in prompts)
        assert counts["q", last] == counts["mlp", last] == len(prompts)

    def test_positions_before_the_runs_differ(self, setups, architecture):
        plan = [(Edit(Site("resid_pre", 0), "replace", FromPass("clean")),)]
        _, prompts, counts = self.counted(setups, architecture, plan, "corrupted")
        buckets = [[prompts[row] for row in rows] for rows in prompts.buckets().values()]
        expected = sum(len(b) * (len(b[0]) - min(pair.first_difference for pair in b)) for b in buckets)
        assert counts["block", 0] == expected < sum(len(pair) for pair in prompts)

    def test_edits_without_effect(self, setups, architecture):
        last = setups[architecture][0].shape.n_layers - 1
        plan = [
            (Edit(Site("mlp_out", last, position="S2"), "zero"),),  # read by nothing
            (Edit(Site("resid_pre", 1, position="BOS"), "replace", FromPass("clean")),),  # the same in both runs
        ]
        _, _, counts = self.counted(setups, architecture, plan, "corrupted")
        assert set(counts.values()) == {0}


def test_components_are_whole_again_after_an_error(setups):
    model, _, prompts = setups["tiny-gpt2"]
    before = Engine(model, prompts).baseline("clean")
    too_much = Edit(Site("resid_pre", 3), "add", torch.full((model.shape.d_model,), torch.nan))
    with pytest.raises(LabError, match="not finite"):
        Engine(model, prompts).run([(too_much,)], "clean", progress=False)
    assert not any("forward" in vars(module) for module in model.bridge.modules())
    assert (Engine(model, prompts).baseline("clean").logit_diff == before.logit_diff).all()
