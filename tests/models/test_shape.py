"""The sizes of a model, and the lines for sites that it does not have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ioi_lab.errors import LabError
from ioi_lab.models.shape import COMPONENTS, HEAD_COMPONENTS, ModelShape

GROUPED = ModelShape("llama", n_layers=3, n_heads=4, n_kv_heads=2, d_model=32, d_head=8, n_ctx=64)
PARALLEL = ModelShape("neox", n_layers=3, n_heads=4, n_kv_heads=4, d_model=32, d_head=8, n_ctx=64, parallel=True)


def test_key_value_heads_are_fewer_where_queries_share_them():
    heads = {component: GROUPED.heads(component) for component in sorted(HEAD_COMPONENTS)}
    assert heads == {"k": 2, "pattern": 4, "q": 4, "v": 2, "z": 4}
    assert [GROUPED.head_noun(component) for component in ("k", "q")] == ["key/value head", "head"]
    assert [PARALLEL.head_noun(component) for component in ("k", "q")] == ["head", "head"]


def test_only_models_with_a_limit_refuse_long_prompts():
    GROUPED.check_length(1_000_000)
    limited = replace(GROUPED, max_tokens=64)
    limited.check_length(64)
    with pytest.raises(LabError, match=r"^task: a prompt has 65 tokens, but llama reads at most 64; expected shorter"):
        limited.check_length(65)


def test_parallel_blocks_have_no_resid_mid():
    for component in COMPONENTS:
        GROUPED.check_component(component)
    for component in set(COMPONENTS) - {"resid_mid"}:
        PARALLEL.check_component(component)
    with pytest.raises(LabError, match=r"^component: got 'resid_mid', but the blocks of neox run attention and MLP in"):
        PARALLEL.check_component("resid_mid")
    with pytest.raises(LabError, match=r"^site: got 'w', expected one of resid_pre, q, k, v, pattern, z, attn_out"):
        GROUPED.check_component("w", "site")


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_that_the_model_does_not_have_is_reported(layer):
    GROUPED.check_layer(0)
    GROUPED.check_layer(2)
    with pytest.raises(LabError, match=rf"^layer: got {layer}, expected 0 to 2 \(llama\)$"):
        GROUPED.check_layer(layer)


@pytest.mark.parametrize(
    ("component", "head", "line"),
    [
        ("z", 4, r"head: got 4, expected 0 to 3 \(llama\)"),
        ("z", -1, r"head: got -1, expected 0 to 3 \(llama\)"),
        ("k", 2, r"head: got 2, expected 0 to 1 \(llama; k is addressed by its 2 key/value heads\)"),
        ("mlp_out", 0, "head: got 0, but mlp_out has no heads; expected None"),
    ],
)
def test_a_head_that_the_component_does_not_have_is_reported(component, head, line):
    GROUPED.check_head("z", 3)
    GROUPED.check_head("k", 1)
    with pytest.raises(LabError, match=f"^{line}$"):
        GROUPED.check_head(component, head)


HYBRID = ModelShape(
    "jamba",
    n_layers=4,
    n_heads=4,
    n_kv_heads=2,
    d_model=32,
    d_head=8,
    n_ctx=64,
    missing=frozenset({("z", 0), ("z", 2), *(("resid_mid", layer) for layer in range(4))}),
)


def test_layers_that_lack_a_component():
    assert HYBRID.layers("z") == [1, 3]
    assert HYBRID.layers("mlp_out") == [0, 1, 2, 3]
    HYBRID.check_component("z")
    HYBRID.check_layer(0, component="mlp_out")
    HYBRID.check_layer(1, component="z")
    with pytest.raises(LabError, match=r"^layer: got 2, a layer of jamba without z; expected one of 1, 3$"):
        HYBRID.check_layer(2, component="z")
    with pytest.raises(LabError, match=r"^component: got 'resid_mid', which is not a component of jamba; expected one"):
        HYBRID.check_component("resid_mid")


def test_what_needs_a_component_in_every_layer():
    HYBRID.check_every_layer("mlp_out", "this")
    with pytest.raises(
        LabError, match=r"^intervention: this needs z in every layer, but in jamba layers 1, 3 alone ha"
    ):
        HYBRID.check_every_layer("z", "this")
    with pytest.raises(LabError, match=r"needs resid_mid in every layer, but in jamba it is not a component$"):
        HYBRID.check_every_layer("resid_mid", "this")
