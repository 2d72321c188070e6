"""Knockouts of Wang et al. 2022, and heads at positions, against brute force on the plain model."""

from __future__ import annotations

import random
from itertools import product

import pytest
import torch

from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.models.loading import load_model
from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES
from tests.conftest import hugging_face, ioi_task, model_config
from tests.interventions.test_ablate import ablate, six_prompts
from tests.interventions.toy import plan_of
from tests.oracle import edited_end_logits


@pytest.fixture(scope="module")
def setup(folders):
    return six_prompts(folders)


CIRCUIT = ["0.0", "1.2", "2.0", "2.1", "3.1"]


@pytest.mark.long
def test_a_knockout_equals_an_independent_computation(folders):
    """F(C) of five heads by the definition of Wang et al. 2022, with reference prompts, means and edits by other means.

    F(C) varies by 0.4 % (one standard deviation) from one draw of 256 reference prompts per sentence and order to the
    next.
    """
    model, plain = load_model(model_config(folders["tiny-gpt2"])), hugging_face(folders["tiny-gpt2"])
    prompts = ioi_task(n=64).prompt_pairs(model.tokens)
    intervention = ablate(
        layer="all", head=CIRCUIT, sets="except", method="mean_by_position", reference="abc", n_reference=256
    )
    engine = Engine(model, prompts)
    got = engine.run(plan_of(intervention, engine), "clean", progress=False).logit_diff.mean()
    by_frame = {pair.frame: pair for pair in prompts}
    means = {frame: reference_means(plain, model.tokens.tokenizer, pair, 256) for frame, pair in by_frame.items()}
    logit_diffs = [alone(plain, pair, means[pair.frame]) for pair in prompts]
    assert got == pytest.approx(sum(logit_diffs) / len(prompts), rel=0.02)


@torch.no_grad()
def reference_means(plain, tokenizer, pair, n_reference):
    """By layer, the mean over prompts with three unrelated names of the input of the output matrix: [pos, d_model]."""
    rng = random.Random(pair.frame)
    texts = []
    while len(texts) < n_reference:
        people = dict(zip(("IO", "S1", "S2"), rng.sample(NAMES, 3), strict=True))
        texts.append(pair.frame.format(**people, place=rng.choice(PLACES), object=rng.choice(OBJECTS)))
    ids = torch.tensor(tokenizer([tokenizer.bos_token + text for text in texts]).input_ids)
    assert ids.shape[1] == len(pair)
    means = {}

    def keep(layer):
        return lambda module, arguments: means.update({layer: arguments[0].mean(dim=0)})

    with_hooks(plain, keep, ids)
    return means


@torch.no_grad()
def alone(plain, pair, means):
    """The logit difference of the circuit alone, all other heads at their means."""

    def knock_out(layer):
        def hook(module, arguments):
            z = arguments[0].clone().unflatten(-1, (plain.config.n_head, -1))
            mean = means[layer].unflatten(-1, (plain.config.n_head, -1))
            for head in range(plain.config.n_head):
                if f"{layer}.{head}" not in CIRCUIT:
                    z[0, :, head] = mean[:, head]
            return (z.flatten(2),)

        return hook

    logits = with_hooks(plain, knock_out, torch.tensor([pair.clean_tokens]))[0, -1]
    return (logits[pair.answer_id] - logits[pair.distractor_id]).item()


def with_hooks(plain, hook_of_layer, ids):
    blocks = plain.transformer.h
    handles = [block.attn.c_proj.register_forward_pre_hook(hook_of_layer(i)) for i, block in enumerate(blocks)]
    logits = plain(ids).logits
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.parametrize(
    ("method", "reference"),
    [
        ("mean_by_position", "abc"),
        ("zero", "abc"),
        ("mean", "corrupted"),
        ("mean_by_position", "clean"),
        ("resample", "random"),
        ("resample", "corrupted"),
    ],
)
def test_heads_at_positions_are_kept_under_every_method(setup, method, reference):
    """All but 1.2@S2: head 1.2 is edited at every position but S2, all other heads at all positions."""
    model, plain, prompts = setup
    intervention = ablate(layer="all", head="1.2@S2", sets="except", method=method, reference=reference)
    engine = Engine(model, prompts)
    (edits,) = plan_of(intervention, engine)
    by_head = {(edit.site.layer, edit.site.head): edit for edit in edits}
    positions = {head: edit.site.position for head, edit in by_head.items()}
    assert positions == dict.fromkeys(product(range(4), range(4)), "all") | {(1, 2): "all but S2"}
    kept = by_head.pop((1, 2))
    got = engine.run([edits], "clean", progress=False).logit_diff
    for row, pair in enumerate(prompts):
        elsewhere = [
            Edit(Site("z", 1, 2, position), kept.operation, kept.value)
            for position in range(len(pair))
            if position != pair.labels["S2"]
        ]
        logits = edited_end_logits(plain, pair, row, [*by_head.values(), *elsewhere], "clean")
        assert got[0, row] == pytest.approx((logits[pair.answer_id] - logits[pair.distractor_id]).item(), abs=1e-4)


def test_only_what_leaves_a_circuit_of_heads_is_called_one():
    circuit = {"layer": "all", "head": ["1.2"], "sets": "except"}
    assert ablate(**circuit, method="mean_by_position", reference="abc").others_are == (
        "their mean by position over 64 ABC prompts for each sentence and order (Wang et al. 2022)"
    )
    assert ablate(**circuit, method="zero").others_are == "zero"
    for other in ({"position": "END"}, {"prompts": "corrupted", "reference": "clean"}, {"sets": "together"}):
        assert ablate(**(circuit | other)).others_are is None
    assert ablate(layer=1, head="all", component="mlp_out", sets="except").others_are is None


def test_the_definition_is_in_title_and_table(setup):
    knockout = ablate(method="mean_by_position", reference="abc")
    assert knockout.title == "ablate z (mean by position of ABC prompts)"
    assert "64 ABC prompts for each sentence and order (Wang et al. 2022)" in knockout.details
    assert knockout.definition == {"method": "mean_by_position", "reference": "abc"}
    assert ablate(method="zero").definition == {"method": "zero", "reference": ""}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"reference": "abc"}, "got 'abc', which is for mean_by_position; mean takes corrupted or clean"),
        (
            {"reference": "abc", "method": "resample"},
            "for mean_by_position; resample takes corrupted or random",
        ),
        ({"method": "mean_by_position", "reference": "abc", "n_reference": 1}, r"intervention\.n_reference: got 1"),
        ({"head": ["1.2@END"], "layer": "all", "position": "S2"}, "got S2, but head names positions already"),
    ],
)
def test_definitions_that_do_not_fit_are_reported(changes, line):
    with pytest.raises(LabError, match=line):
        ablate(**changes)


@pytest.mark.parametrize(
    ("head", "sets", "line"),
    [
        ("1.2@S3", "each", r"^intervention\.head=1\.2@S3: got 'S3', expected one of .*IO.*, or a token index"),
        ("1.2@99", "each", r"^intervention\.head=1\.2@99: got 99, expected an index from"),
        ("9.2@END", "each", r"^intervention\.head: got 9\.2, expected a head from 0\.0 to 3\.3"),
        (
            "1.2@3",
            "except",
            r"^intervention\.head: got 1\.2@3, but sets=except takes labels, such as END, and no token",
        ),
    ],
)
def test_heads_at_positions_that_do_not_exist_are_reported(setup, head, sets, line):
    model, _, prompts = setup
    with pytest.raises(LabError, match=line):
        ablate(layer="all", head=head, sets=sets).rows(model.shape, prompts)


def test_rows_of_heads_at_positions(setup):
    model, _, prompts = setup
    rows = ablate(layer="all", head=["1.2@END", "2.0@S2", "0.1"]).rows(model.shape, prompts)
    assert [(row.label, row.position) for row in rows] == [("1.2", "END"), ("2.0", "S2"), ("0.1", "all")]
    (row,) = ablate(layer="all", head=["1.2@END", "2.0@S2"], sets="together").rows(model.shape, prompts)
    assert (row.label, row.position) == ("1.2@END 2.0@S2", "mixed")
    (row,) = ablate(layer="all", head=["1.2@END", "1.2@S2"], sets="except").rows(model.shape, prompts)
    assert row.label == "all but 1.2@END 1.2@S2"
    assert {site.position for site in row.sites if (site.layer, site.head) == (1, 2)} == {"all but END,S2"}
