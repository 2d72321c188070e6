"""Gradient estimates of all edges: by torch's autograd on plain models, and TransformerLens' own."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis.attribution_patching import EdgeAttributionConfig, attribution_patch

from ioi_lab.circuits.edge_gradients import gradient_scores
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from tests.circuit_oracle import everything, passed
from tests.circuits.setups import ids_of
from tests.conftest import model_config
from tests.engine.test_targets import log_sums, with_sets
from tests.oracle import changed


def objective_of(name, logits, clean_logits, pair):
    if name == "logit_diff":
        answer, distractor = log_sums(logits, pair)
        return answer - distractor
    clean = clean_logits.log_softmax(dim=-1)
    return -(clean.exp() * (clean - logits.log_softmax(dim=-1))).sum()


def gradients(setup, row, given=None, objective="logit_diff"):
    """The gradient `[pos, d_model]` at what each reader reads, where `given` says what some writers write."""
    pair = setup.prompts[row]
    with torch.enable_grad():
        out = passed(setup.plain, ids_of(pair), given=given, watch=True)
        objective_of(objective, out.logits, setup.logits(row), pair).backward()
    return {name: torch.zeros_like(x) if x.grad is None else x.grad for name, x in out.read.items()}


def by_hand(setup, row, labels=(), **given):
    """The score of each edge by its name, from one pass by hand."""
    pair, graph = setup.prompts[row], setup.graph(labels)
    slopes, changes = gradients(setup, row, **given), changes_of(setup, row)
    at = {position: label for label in labels for position in [pair.labels[label]]}
    scores = defaultdict(float)
    for writer, reader in {(w, r) for w, r in zip(graph.edge_writer, graph.edge_reader, strict=True)}:
        names = graph.writers[writer].name, graph.readers[reader].name
        products = (changes[names[0]] * slopes[names[1]]).sum(dim=-1).tolist()
        for position, product in enumerate(products):
            end = f"@{at.get(position, 'rest')}" if labels else ""
            scores[f"{names[0]}->{names[1]}{end}"] += product
    return np.array([scores[name] for name in graph.names])


def changes_of(setup, row):
    clean, corrupted = (setup.written(setup.prompts[row], which) for which in ("clean", "corrupted"))
    return {name: clean[name] - corrupted[name] for name in clean}


def between(setup, row, writers, share):
    """What some writers write at a share of the way from the corrupted to the clean pass."""
    pair, changes = setup.prompts[row], changes_of(setup, row)
    corrupted = setup.written(pair, "corrupted")
    return {name: corrupted[name] + share * changes[name] for name in writers}


def assert_close(found, expected):
    assert np.abs(expected).max() > 1e-3
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("labels", [(), ("S2", "END")])
def test_eap_is_changes_times_gradients_of_the_clean_pass(setup, labels):
    scores = gradient_scores(setup.runner(labels), "eap")
    for row in (0, 3):
        assert_close(scores[row], by_hand(setup, row, labels))


def test_gradients_and_circuits_of_sets_are_those_of_the_logsumexp_difference(setups):
    single = setups["tiny-gpt2"]
    prompts = with_sets(single.prompts)
    setup = replace(single, prompts=prompts, engine=single.engine.on(prompts))
    runner = setup.runner()
    scores = gradient_scores(runner, "eap")
    for row in (1, 2):
        assert_close(scores[row], by_hand(setup, row))
    whole, nothing = runner.ends().logit_diff
    for row, pair in enumerate(prompts):
        for found, circuit in ((whole, everything), (nothing, lambda writer, reader: torch.zeros(1))):
            answer, distractor = log_sums(setup.logits(row, circuit), pair)
            assert found[row] == pytest.approx(float(answer - distractor), abs=1e-4)


@pytest.mark.parametrize(("rule", "points"), [("end", [1 / 3, 2 / 3, 1.0]), ("start", [0.0, 1 / 3, 2 / 3])])
def test_integrated_gradients_over_inputs(setup, rule, points):
    scores = gradient_scores(setup.runner(), "eap_ig_inputs", ig_steps=3, ig_rule=rule)[0]
    each = [by_hand(setup, 0, given=between(setup, 0, ["input"], point)) for point in points]
    assert_close(scores, np.mean(each, axis=0))


def test_clean_corrupted_is_the_mean_of_both_ends(setup):
    scores = gradient_scores(setup.runner(), "clean_corrupted")[1]
    ends = [by_hand(setup, 1), by_hand(setup, 1, given=between(setup, 1, ["input"], 0.0))]
    assert_close(scores, np.mean(ends, axis=0))


@pytest.mark.parametrize("name", ["llama-gqa", "gemma3"])
def test_integrated_gradients_over_activations_are_of_each_edges_own_writer(setups, name):
    setup = setups[name]
    graph, n_heads = setup.graph(), setup.model.shape.n_heads
    scores = gradient_scores(setup.runner(), "eap_ig_activations", ig_steps=2)[0]
    stages = [["input"]]
    for layer in range(setup.model.shape.n_layers):
        stages += [[f"a{layer}.h{head}" for head in range(n_heads)], [f"m{layer}"]]
    expected = np.zeros(graph.n_edges)
    for stage in stages:
        each = [by_hand(setup, 0, given=between(setup, 0, stage, point)) for point in (0.5, 1.0)]
        own = np.array([graph.writers[writer].name in stage for writer in graph.edge_writer])
        expected += own * np.mean(each, axis=0)
    assert_close(scores, expected)


@pytest.mark.parametrize("method", ["eap_ig_inputs", "eap_ig_activations"])
def test_kl_as_objective(setups, method):
    setup = setups["tiny-pythia"]
    scores = gradient_scores(setup.runner(), method, "kl", ig_steps=1, ig_rule="start")[0]
    graph = setup.graph()
    if method == "eap_ig_inputs":
        assert_close(scores, by_hand(setup, 0, given=between(setup, 0, ["input"], 0.0), objective="kl"))
        return
    heads = [f"a2.h{head}" for head in range(4)]
    expected = by_hand(setup, 0, given=between(setup, 0, heads, 0.0), objective="kl")
    own = [graph.writers[writer].name in heads for writer in graph.edge_writer]
    assert_close(scores[own], expected[own])


def test_edges_from_a_writer_sum_up_to_its_attribution_on_the_plain_model(setup):
    graph = setup.graph()
    scores = gradient_scores(setup.runner(), "eap")
    for row in (0, 2):
        pair, model = setup.prompts[row], setup.plain.model
        outputs = {}

        def keeping(site, outputs=outputs):
            def keep(x):
                outputs[site] = x.clone() if x.requires_grad else x.clone().requires_grad_()
                outputs[site].retain_grad()
                return outputs[site]

            return keep

        sites = [Site(name, layer) for layer in range(graph.shape.n_layers) for name in ("attn_out", "mlp_out")]
        sites.append(Site("resid_pre", 0))
        handles = [changed(model, site, keeping(site)) for site in sites]
        with torch.enable_grad():
            for handle in handles:
                handle.__enter__()
            logits = model(ids_of(pair)[None]).logits[0, -1]
            for handle in handles:
                handle.__exit__(None, None, None)
            (logits[pair.answer_id] - logits[pair.distractor_id]).backward()
        changes = changes_of(setup, row)
        for index, writer in enumerate(graph.writers):
            of = "mlp_out" if writer.head is None else "attn_out"
            site = Site("resid_pre", 0) if writer.layer < 0 else Site(of, writer.layer)
            expected = float((changes[writer.name] * outputs[site].grad).sum())
            found = scores[row, graph.edge_writer == index].sum()
            assert found == pytest.approx(expected, abs=1e-4 * max(1, np.abs(scores[row]).max())), writer.name


def test_transformer_lens_finds_the_same(setups, folders):
    setup = setups["tiny-gpt2"]
    graph = setup.graph()
    bridge = TransformerBridge.boot_transformers(str(folders["tiny-gpt2"]), device="cpu")
    # Its gradients are those of the corrupted pass: of integrated gradients, the only point of the rule `start`.
    scores = gradient_scores(setup.runner(), "eap_ig_inputs", ig_steps=1, ig_rule="start")
    names = {"embed": "input", "logits": "logits"}
    for row in (0, 2):
        pair = setup.prompts[row]
        result = attribution_patch(
            bridge,
            ids_of(pair)[None],
            ids_of(pair, "corrupted")[None],
            lambda logits, pair=pair: logits[0, -1, pair.answer_id] - logits[0, -1, pair.distractor_id],
            EdgeAttributionConfig(granularity="edge"),
        )
        summed = defaultdict(float)
        for ends, score in result.edge_scores.items():
            found = []
            for node in ends:
                of_head = f"a{node.layer}.h{node.head}"
                inputs = {f"{each}_input": f"{of_head}<{each}>" for each in "qkv"}
                kinds = (
                    names | inputs | {"attn_head_out": of_head} | dict.fromkeys(("mlp_out", "mlp_in"), f"m{node.layer}")
                )
                found.append(kinds[node.kind])
            summed["->".join(found)] += score
        assert_close(scores[row], np.array([summed[name] for name in graph.names]))
        assert len(result.edge_scores) == graph.n_edges * len(pair)


def test_other_ablations_change_what_is_subtracted(setups):
    setup = setups["tiny-gpt2"]
    scores = gradient_scores(setup.runner((), "zero"), "eap")[0]
    slopes, written = gradients(setup, 0), setup.written(setup.prompts[0])
    expected = [
        float((written[writer] * slopes[reader]).sum())
        for writer, reader in (name.split("->") for name in setup.graph().names)
    ]
    assert_close(scores, np.array(expected))


def test_a_bound_on_memory_changes_no_score(setups):
    setup = setups["tiny-pythia"]
    runner = CircuitRunner(Engine(setup.model, setup.prompts, 0.006), setup.graph())
    assert len(list(runner.engine.budget.edge_gradient_buckets(len(runner.graph.writers)))) == 4
    assert gradient_scores(runner, "eap") == pytest.approx(gradient_scores(setup.runner(), "eap"), abs=1e-5)


def test_kl_has_no_gradient_in_the_clean_pass(setups):
    with pytest.raises(LabError, match=r"^intervention.objective: got 'kl', .* expected logit_diff, or") as raised:
        gradient_scores(setups["tiny-gpt2"].runner(), "eap", "kl")
    assert "\n" not in str(raised.value)


def test_too_little_memory_is_one_line(setups):
    setup = setups["tiny-gpt2"]
    runner = CircuitRunner(Engine(setup.model, setup.prompts, 2e-4), setup.graph())
    with pytest.raises(LabError, match=r"^engine.memory_gb: got 0.0002, but the gradients of one prompt of 1\d tokens"):
        gradient_scores(runner, "eap")


def test_low_precision_gives_nearly_the_same(setups, folders):
    setup = setups["llama-gqa"]
    model = load_model(model_config(folders["llama-gqa"], dtype="bfloat16"))
    expected = gradient_scores(setup.runner(), "eap")
    scores = gradient_scores(CircuitRunner(Engine(model, setup.prompts), setup.graph()), "eap")
    assert np.abs(scores - expected).max() < 0.2 * np.abs(expected).max()
