"""The values that ablation writes; their effects are compared in `tests/interventions/test_ablate.py`."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.ablation import ablation_edits
from ioi_lab.engine.edits import FromPass, Site
from ioi_lab.errors import LabError
from tests.engine.toy import PROMPTS, SHAPE


class ToyEngine:
    """Records made-up activations of the three prompts of 5, 3 and 5 tokens, and counts how often it does."""

    prompts, shape = PROMPTS, SHAPE

    def __init__(self):
        self.records = []

    def record(self, which, sites):
        self.records += [(which, site) for site in sites]
        return {site: self.activation(which, site) for site in sites}

    def activation(self, which, site):
        seed = 10 * site.layer + (which == "clean")
        size = len(PROMPTS), PROMPTS.longest, site.width(SHAPE, PROMPTS.longest)
        values = torch.randn(size, generator=torch.Generator().manual_seed(seed))
        values[1, 3:] = 0  # beyond the shorter prompt
        return values


Z = Site("z", 1)
HEAD = Site("z", 1, 2)
OF_HEAD = slice(6, 9)


def value(method, reference, site, base="clean", seed=0):
    engine = ToyEngine()
    ((edit,),) = ablation_edits(engine, [[site]], method, reference, base, seed)
    assert (edit.site, edit.operation) == (site, "replace")
    return edit.value


def test_zero_and_the_twin_record_nothing():
    engine = ToyEngine()
    sets = [[HEAD, Site("z", 2)], [Site("z", 3, 0)]]
    zero = ablation_edits(engine, sets, "zero", "clean", "clean")
    twin = ablation_edits(engine, sets, "resample", "corrupted", "clean")
    assert [[edit.site for edit in edits] for edits in zero] == sets
    assert {edit.operation for edits in zero for edit in edits} == {"zero"}
    assert [[edit.site for edit in edits] for edits in twin] == sets
    assert {edit.value for edits in twin for edit in edits} == {FromPass("corrupted")}
    assert engine.records == []


@pytest.mark.parametrize("reference", ["clean", "corrupted"])
def test_the_mean_is_over_every_token_once(reference):
    z = ToyEngine().activation(reference, Z)
    expected = torch.cat([z[0], z[1, :3], z[2]]).mean(dim=0)
    assert torch.allclose(value("mean", reference, Z), expected, atol=1e-6)
    assert torch.allclose(value("mean", reference, HEAD), expected[OF_HEAD], atol=1e-6)


def test_the_mean_at_a_label_is_over_all_prompts():
    z = ToyEngine().activation("corrupted", Z)
    expected = (z[0, 2] + z[1, 1] + z[2, 3]) / 3
    got = value("mean_by_position", "corrupted", Site("z", 1, 2, "S2"))
    assert torch.allclose(got, expected[OF_HEAD], atol=1e-6)


def test_a_prompt_that_is_alone_in_its_length_has_no_mean_by_index():
    with pytest.raises(LabError, match="mean_by_position needs two prompts of each length, but only one has 3 tokens"):
        value("mean_by_position", "clean", HEAD)


@pytest.mark.parametrize("base", ["clean", "corrupted"])
@pytest.mark.parametrize("seed", range(4))
def test_a_random_prompt_gives_its_activation_in_the_edited_pass(base, seed):
    z = ToyEngine().activation(base, Z)
    at_label = torch.stack([z[0, 4], z[1, 2], z[2, 4]])[:, OF_HEAD]
    got = value("resample", "random", Site("z", 1, 2, "END"), base, seed)
    donors = [[torch.equal(row, other) for other in at_label].index(True) for row in got]
    assert sorted(donors) == [0, 1, 2]
    assert all(donor != row for row, donor in enumerate(donors))


def test_layer_by_layer_each_is_recorded_once():
    engine = ToyEngine()
    sites = [[Site("z", layer, head)] for layer in range(3) for head in range(4)]
    ablation_edits(engine, sites, "mean", "corrupted", "clean")
    assert engine.records == [("corrupted", Site("z", layer)) for layer in range(3)]


def test_key_value_heads_are_split_by_their_own_number():
    v = ToyEngine().activation("clean", Site("v", 0))
    expected = torch.cat([v[0], v[1, :3], v[2]]).mean(dim=0)[3:6]
    assert torch.allclose(value("mean", "clean", Site("v", 0, 1)), expected, atol=1e-6)
