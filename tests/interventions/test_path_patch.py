"""Path patching against TransformerLens' direct path patching, and against freezing by hand on the plain model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformer_lens import patching

from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.interventions.path_patch import PathPatch
from ioi_lab.models.loading import load_model
from tests.conftest import ARCHITECTURES, hugging_face, ioi_task, model_config
from tests.engine.test_engine import same_length
from tests.interventions.toy import plan_of
from tests.oracle import activation, tokens
from tests.path_oracle import frozen


def path_patch(**changes):
    values = {
        "name": "path_patch", "component": "z", "layer": "all", "head": "all", "position": "all", "sets": "each",
        "receiver_input": "logits", "receiver": None, "direction": "denoise",
    }  # fmt: skip
    return PathPatch.from_config(values | changes, "intervention")


@pytest.fixture(scope="module")
def setups(folders):
    result = {}
    for name in ARCHITECTURES:
        model = load_model(model_config(folders[name]))
        result[name] = model, hugging_face(folders[name]), ioi_task(n=2, corruption="abc").prompt_pairs(model.tokens)
    return result


def measured(model, prompts, intervention):
    engine = Engine(model, prompts)
    plan = plan_of(intervention, engine)
    rows = intervention.rows(engine.shape, prompts)
    return rows, engine.run(plan, intervention.base, progress=False).logit_diff


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("sender", ["z", "mlp_out"])
@pytest.mark.parametrize(
    ("receiver_input", "receiver", "to"),
    [
        ("logits", None, None),
        ("q", "2.3", Site("q", 2, 3)),
        ("k", "2.1", Site("k", 2, 1)),
        ("v", ["2.0"], Site("v", 2, 0)),
        ("mlp", 1, Site("mlp_out", 1)),
    ],
)
@pytest.mark.parametrize(("direction", "mlps"), [("denoise", "frozen"), ("noise", "frozen"), ("noise", "free")])
def test_equals_freezing_by_hand(setups, architecture, sender, receiver_input, receiver, to, direction, mlps):
    model, plain, prompts = setups[architecture]
    intervention = path_patch(
        component=sender, receiver_input=receiver_input, receiver=receiver, direction=direction, mlps=mlps
    )
    rows, got = measured(model, prompts, intervention)
    assert rows
    with torch.no_grad():
        for index, row in enumerate(rows):
            for prompt, pair in enumerate(prompts):
                expected = frozen(plain, pair, row.sites[0], to, intervention.base, intervention.source, mlps)
                assert got[index, prompt] == pytest.approx(expected, abs=1e-4), row.label


def test_free_mlps_carry_what_frozen_ones_do_not(setups):
    model, _, prompts = setups["tiny-gpt2"]
    _, frozen_ones = measured(model, prompts, path_patch(layer=0))
    _, free_ones = measured(model, prompts, path_patch(layer=0, mlps="free"))
    assert abs(frozen_ones - free_ones).max() > 0.01


@pytest.mark.parametrize("mlps", ["frozen", "free"])
@pytest.mark.parametrize("architecture", ["tiny-gpt2", "llama-gqa"])
def test_several_inputs_are_received_at_once(setups, architecture, mlps):
    """What reaches q, k and v together is what three runs write, in one pass; k and v of the shared head."""
    model, _, prompts = setups[architecture]
    engine = Engine(model, prompts)
    together = path_patch(receiver_input=["q", "k", "v"], receiver="2.3", mlps=mlps)
    key_value_head = 3 * model.shape.n_kv_heads // model.shape.n_heads
    alone = [
        path_patch(receiver_input=component, receiver=f"2.{3 if component == 'q' else key_value_head}", mlps=mlps)
        for component in "qkv"
    ]
    plans = [plan_of(intervention, engine) for intervention in alone]
    joined = [[edit for edits in of_sender for edit in edits] for of_sender in zip(*plans, strict=True)]
    assert [[edit.site for edit in edits] for edits in plan_of(together, engine)] == [
        [edit.site for edit in edits] for edits in joined
    ]
    got = engine.run(plan_of(together, engine), together.base, progress=False).logit_diff
    assert got == pytest.approx(engine.run(joined, together.base, progress=False).logit_diff, abs=1e-4)
    assert together.title.startswith("path patch z → q, k, v of 2.3")


def test_titles_and_tables_name_what_mlps_do(setups):
    intervention = path_patch(mlps="free")
    assert intervention.title == "path patch z → the logits, free MLPs"
    assert "with free MLPs" in intervention.details
    assert intervention.definition == {"receiver": "the logits", "mlps": "free"}


def test_free_mlps_need_mlps(setups, monkeypatch):
    model, _, prompts = setups["tiny-gpt2"]
    missing = frozenset(("mlp_out", layer) for layer in range(model.shape.n_layers))
    monkeypatch.setitem(vars(model), "shape", replace(model.shape, missing=missing))
    with pytest.raises(LabError, match=r"^intervention\.mlps: got 'free', but the blocks of tiny-gpt2 have no MLP"):
        path_patch(mlps="free").plan([], Engine(model, prompts))


@pytest.mark.parametrize("component", ["q", "k", "v"])
def test_equals_transformer_lens(setups, component):
    model, _, _ = setups["tiny-gpt2"]
    prompts = same_length(ioi_task(n=24, corruption="swap").prompt_pairs(model.tokens))
    clean, corrupted = (
        torch.tensor([getattr(pair, f"{run}_tokens") for pair in prompts]) for run in ("clean", "corrupted")
    )
    answer, distractor = (
        torch.tensor([getattr(pair, f"{role}_id") for pair in prompts]) for role in ("answer", "distractor")
    )
    rows = torch.arange(len(prompts))

    def metric(logits):
        return (logits[rows, -1, answer] - logits[rows, -1, distractor]).mean()

    with torch.no_grad():
        caches = [model.bridge.run_with_cache(ids)[1] for ids in (clean, corrupted)]
        expected = patching.get_act_patch_direct_path(
            model.bridge, corrupted, *caches, metric, src_layer=0, src_head=0, component=component, verbose=False
        )
    for layer in range(1, model.shape.n_layers):
        for head in range(model.shape.n_heads):
            intervention = path_patch(layer=0, head=0, receiver_input=component, receiver=f"{layer}.{head}")
            _, got = measured(model, prompts, intervention)
            assert got.mean() == pytest.approx(expected[layer, head].item(), abs=1e-4)


def test_all_senders_at_once_into_the_logits(setups):
    """With every head and MLP as senders in turn, the direct effects of their sum are those of their set."""
    model, plain, prompts = setups["tiny-gpt2"]
    _, together = measured(model, prompts, path_patch(sets="together"))
    engine = Engine(model, prompts)
    sites = [Site("attn_out", layer) for layer in range(model.shape.n_layers)]
    base, other = (engine.record(run, sites) for run in ("corrupted", "clean"))
    change = sum(other[site] - base[site] for site in sites)
    for row, pair in enumerate(prompts):
        end = activation(plain, tokens(pair, "corrupted"), Site("resid_post", model.shape.n_layers - 1))[-1]
        with torch.no_grad():
            logits = plain.lm_head(plain.transformer.ln_f(end + change[row, len(pair) - 1]))
        expected = logits[pair.answer_id] - logits[pair.distractor_id]
        assert together[0, row] == pytest.approx(expected.item(), abs=1e-4)


def test_sets_hold_the_senders_that_come_before_the_receivers(setups):
    model, _, prompts = setups["tiny-gpt2"]
    (row,) = path_patch(receiver_input="q", receiver="1.0", sets="together").rows(model.shape, prompts)
    assert row.label == "0.0 0.1 0.2 0.3"
    (rest,) = path_patch(receiver_input="q", receiver="1.0", sets="except", head="0.2").rows(model.shape, prompts)
    assert rest.label == "all but 0.2"
    assert [(site.layer, site.head) for site in rest.sites] == [(0, 0), (0, 1), (0, 3)]


def test_several_receivers_reach_only_later_ones(setups):
    model, _, prompts = setups["tiny-gpt2"]
    rows, _ = measured(model, prompts, path_patch(receiver_input="q", receiver=["1.0", "3.1"]))
    assert {row.sites[0].layer for row in rows} == {0, 1, 2}
    plan = plan_of(path_patch(receiver_input="q", receiver=["1.0", "3.1"]), Engine(model, prompts))
    assert [len(edits) for edits in plan] == [2] * 4 + [1] * 8


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"receiver_input": "q"}, "intervention.receiver: got None, but receiver_input=q takes a head"),
        (
            {"receiver_input": ["q", "k"]},
            "intervention.receiver: got None, but receiver_input=\\['q', 'k'\\] takes a head",
        ),
        ({"receiver_input": "mlp", "receiver": "1.1"}, "got 1.1, but receiver_input=mlp takes a layer"),
        ({"receiver": "1.1"}, "got 1.1, but receiver_input=logits takes null"),
        ({"receiver_input": "q", "receiver": "9.1"}, "intervention.receiver: got 9.1, expected a head from 0.0 to 3.3"),
        ({"receiver_input": "q", "receiver": "0.1"}, "intervention.receiver: no sender comes before q of 0.1"),
        (
            {"receiver_input": "q", "receiver": "2.0", "head": ["0.0", "3.1"], "sets": "together"},
            "sender 3.1 does not come before any receiver",
        ),
        ({"receiver_input": "q", "receiver": "2.1", "layer": [1, 2]}, "sender 2.0 does not come before any receiver"),
        ({"receiver_input": "mlp", "receiver": 1, "component": "mlp_out", "layer": 1}, "sender layer 1 does not come"),
    ],
)
def test_paths_that_lead_nowhere_are_reported(setups, changes, line):
    model, _, prompts = setups["tiny-gpt2"]
    with pytest.raises(LabError, match=line):
        plan_of(path_patch(**changes), Engine(model, prompts))


def test_attention_reaches_the_mlp_of_its_own_block_unless_in_parallel(setups):
    for architecture, last in (("tiny-gpt2", 1), ("tiny-pythia", 0)):
        model, _, prompts = setups[architecture]
        rows = path_patch(receiver_input="mlp", receiver=1).rows(model.shape, prompts)
        assert max(row.sites[0].layer for row in rows) == last
