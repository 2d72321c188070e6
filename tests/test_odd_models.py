"""Interventions on unusual architectures: exact against plain hooks, or refused in one line; never a traceback.

This is a sample of `python -m benchmarks.odd_models`, which tries all interventions on all of these models.
"""

from __future__ import annotations

import pytest

from benchmarks.odd_models import EXACT, HYBRIDS, Setup, interventions, largest_difference
from ioi_lab.errors import LabError
from tests.odd_models import write_odd_model

SAMPLE = {
    "gptj": ["patch k", "path z to q", "path mlp_out to logits"],  # blocks return tuples
    "gptneo": ["path z to logits", "path z to mlp, free MLPs"],
    "openai-gpt": ["patch resid_post", "attribution resid_post", "path z to logits, free MLPs"],  # blocks return lists
    "deepseek-v3": ["patch mlp_out", "patch pattern", "path mlp_out to logits"],  # latent attention
    "jamba": ["patch z at END", "patch resid_mid", "attribution resid_mid", "path z to v", "attention"],  # hybrid
    "opt-post": ["patch mlp_out", "path z to q, free MLPs"],  # norms follow the sums
    "gemma2": ["patch resid_mid", "path z to logits"],  # norms follow attention and MLP
    "glm4": ["patch mlp_out", "path mlp_out to q"],  # the same
    "mixtral": ["patch mlp_out", "path z to mlp"],  # experts
    "granite": ["attribution resid_mid", "patch attn_out"],  # scaled sums
}
REFUSED = {
    ("gptj", "patch pattern"): r"component: got 'pattern', but writing there changes nothing in gptj",
    ("gptj", "patch resid_mid"): "run attention and MLP in parallel",
    ("deepseek-v3", "patch z"): "got 'z', which is not a component of deepseek-v3; expected one of resid_pre, pattern",
    ("deepseek-v3", "path mlp_out to q"): "got 'q', which is not a component of deepseek-v3",
    ("deepseek-v3", "head_roles"): "assigning roles to heads needs k in every layer, but in deepseek-v3 it is not",
    ("deepseek-v3", "steer z"): "got 'z', which is not a component of deepseek-v3",
    ("jamba", "patch pattern"): "got 'pattern', but writing there changes nothing in jamba",  # nor do parts hold
    ("jamba", "path z to q, free MLPs"): "mlps: got 'free', .* of jamba only these layers have heads: 1, 3",
    ("jamba", "head_roles"): r"needs k in every layer, but in jamba layers 1, 3 alone have it",
    ("opt-post", "patch resid_mid"): "got 'resid_mid', which cannot be distinguished in the blocks of opt-post",
    ("opt-post", "path z to logits"): r"mlps: got 'frozen', .*norms follow the sums.*; expected free",
    ("bert-decoder", "patch attn_out"): "got 'attn_out', which is not a component of bert-decoder",
}


@pytest.fixture(scope="module")
def setups(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("odd"), {}

    def setup(name):
        if name not in made:
            made[name] = Setup.of(write_odd_model(name, folder), n_prompts=16)
        return made[name]

    return setup


def made(setup, intervention):
    name = setup.model.config.label
    return interventions(HYBRIDS.get(name, setup.model.shape.n_layers - 1))[intervention]


@pytest.mark.parametrize(("name", "intervention"), [(name, each) for name, some in SAMPLE.items() for each in some])
def test_what_runs_is_exact(setups, name, intervention):
    setup = setups(name)
    assert largest_difference(setup, made(setup, intervention)) < EXACT


@pytest.mark.parametrize(("name", "intervention"), REFUSED)
def test_what_does_not_run_is_refused_in_one_line(setups, name, intervention):
    setup = setups(name)
    with pytest.raises(LabError, match=REFUSED[name, intervention]) as caught:
        largest_difference(setup, made(setup, intervention))
    assert "\n" not in str(caught.value)
