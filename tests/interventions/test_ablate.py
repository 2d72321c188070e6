"""Ablation against brute force on the plain model, with means and resamples taken by hand."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.interventions.ablate import Ablate
from ioi_lab.models.loading import load_model
from ioi_lab.tasks.prompts import PromptPairs
from tests.conftest import hugging_face, ioi_task, model_config
from tests.interventions.toy import plan_of
from tests.oracle import activation, edited_end_logits, tokens


def ablate(**changes):
    values = {
        "name": "ablate", "component": "z", "layer": 1, "head": 2, "position": "all", "sets": "each",
        "method": "mean", "reference": "corrupted", "prompts": "clean", "seed": 0,
    }  # fmt: skip
    return Ablate.from_config(values | changes, "intervention")


def six_prompts(folders):
    """A model, the same one in plain Hugging Face, and six prompts of two lengths, at least two of each."""
    model = load_model(model_config(folders["tiny-gpt2"]))
    prompts = ioi_task(n=24, corruption="abc").prompt_pairs(model.tokens)
    buckets = sorted(prompts.buckets().values(), key=len)[-2:]
    return (
        model,
        hugging_face(folders["tiny-gpt2"]),
        PromptPairs([prompts[row] for rows in buckets for row in rows[:3]]),
    )


@pytest.fixture(scope="module")
def setup(folders):
    return six_prompts(folders)


def assert_writes(setup, intervention, value_of):
    """The ablation of head 1.2 equals writing `value_of(row)` `[pos, d_head]` there, on the plain model."""
    model, plain, prompts = setup
    engine = Engine(model, prompts)
    got = engine.run(plan_of(intervention, engine), intervention.base, progress=False).logit_diff
    for row, pair in enumerate(prompts):
        value = torch.zeros(len(prompts), prompts.longest, model.shape.d_head)
        value[row, : len(pair)] = value_of(row)
        edit = Edit(Site("z", 1, 2, intervention.position), "replace", value)
        logits = edited_end_logits(plain, pair, row, [edit], intervention.base)
        expected = logits[pair.answer_id] - logits[pair.distractor_id]
        assert got[0, row] == pytest.approx(expected.item(), abs=1e-4)
    assert abs(got - engine.baseline(intervention.base).logit_diff).max() > 1e-3


def held(setup, run):
    """What head 1.2 holds in each prompt: `[pos, d_head]`."""
    model, plain, prompts = setup
    columns = slice(2 * model.shape.d_head, 3 * model.shape.d_head)
    return [activation(plain, tokens(pair, run), Site("z", 1))[:, columns] for pair in prompts]


@pytest.mark.parametrize("prompts", ["clean", "corrupted"])
def test_zero(setup, prompts):
    assert_writes(setup, ablate(method="zero", prompts=prompts), lambda row: torch.tensor(0.0))


@pytest.mark.parametrize("reference", ["clean", "corrupted"])
@pytest.mark.parametrize("position", ["all", "END"])
def test_mean_over_prompts_and_positions(setup, reference, position):
    mean = torch.cat(held(setup, reference)).mean(dim=0)
    assert_writes(setup, ablate(reference=reference, position=position), lambda row: mean)


def test_mean_by_position_is_taken_over_prompts_of_one_length(setup):
    values = held(setup, "corrupted")

    def mean(row):
        return torch.stack([value for value in values if len(value) == len(values[row])]).mean(dim=0)

    assert_writes(setup, ablate(method="mean_by_position"), mean)


def test_mean_at_a_label_is_taken_over_all_prompts(setup):
    prompts = setup[2]
    mean = torch.stack([value[pair.labels["S2"]] for value, pair in zip(held(setup, "clean"), prompts, strict=True)])
    assert_writes(
        setup,
        ablate(method="mean_by_position", position="S2", reference="clean"),
        lambda row: mean.mean(dim=0),
    )


def test_the_mean_pattern_is_one(setup):
    model, _, prompts = setup
    for position in ("S2", "END", "all"):
        ((edit,),) = plan_of(
            ablate(method="mean_by_position", component="pattern", position=position), Engine(model, prompts)
        )
        for row, pair in enumerate(prompts):
            weights = edit.value[row, : len(pair), : len(pair)]
            assert torch.allclose(weights.sum(-1), torch.ones(len(pair)), atol=1e-5)
            assert not weights.triu(1).any()


def test_resampling_at_a_label_takes_the_label_of_the_other(setup):
    model, _, prompts = setup
    values = held(setup, "clean")
    ((edit,),) = plan_of(ablate(method="resample", reference="random", position="S2"), Engine(model, prompts))
    at_labels = torch.stack([value[pair.labels["S2"]] for value, pair in zip(values, prompts, strict=True)])
    distances = torch.cdist(edit.value, at_labels)
    assert distances.min(dim=1).values.max() < 1e-3
    assert_writes(setup, ablate(method="resample", reference="random", position="S2"), lambda row: edit.value[row])


def test_resampling_from_the_twin_is_noising(setup):
    plan = plan_of(ablate(method="resample"), Engine(setup[0], setup[2]))
    assert plan[0][0].value == FromPass("corrupted")


def test_resampling_takes_each_other_prompt_once(setup):
    model, _, prompts = setup
    values = held(setup, "clean")
    ((edit,),) = plan_of(ablate(method="resample", reference="random"), Engine(model, prompts))
    donors = []
    for row, pair in enumerate(prompts):
        given = edit.value[row, : len(pair)]
        (donor,) = [
            i
            for i, value in enumerate(values)
            if value.shape == given.shape and torch.allclose(value, given, atol=1e-5)
        ]
        donors.append(donor)
    assert sorted(donors) == list(range(len(prompts)))
    assert all(donor != row for row, donor in enumerate(donors))
    again = plan_of(ablate(method="resample", reference="random"), Engine(model, prompts))[0][0]
    assert torch.equal(again.value, edit.value)
    assert_writes(setup, ablate(method="resample", reference="random"), lambda row: values[donors[row]])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"method": "resample", "reference": "clean"},
            "reference: got 'clean', the edited pass itself.* corrupted or ran",
        ),
        ({"reference": "random"}, "reference: got 'random', which is for resample"),
        ({"component": "pattern"}, "method: got 'mean', but a pattern's keys differ"),
        ({"method": "median"}, "method: got 'median', expected 'zero', 'mean'"),
    ],
)
def test_choices_that_make_no_sense_are_reported(changes, line):
    with pytest.raises(LabError, match=line):
        ablate(**changes)


@pytest.mark.parametrize("changes", [{"method": "mean_by_position"}, {"method": "resample", "reference": "random"}])
def test_a_prompt_without_company_is_reported(setup, changes):
    model, _, prompts = setup
    with pytest.raises(LabError, match="needs two prompts of each length, but only one has"):
        plan_of(ablate(**changes), Engine(model, PromptPairs([prompts[0], prompts[5]])))


def test_at_a_label_prompts_of_any_length_are_company(setup):
    model, _, prompts = setup
    two, one = PromptPairs([prompts[0], prompts[5]]), prompts.only(0)
    assert len(two.buckets()) == 2
    at_end = ablate(method="resample", reference="random", position="END")
    ((edit,),) = plan_of(at_end, Engine(model, two))
    z = (
        Engine(model, two)
        .record("clean", [Site("z", 1)])[Site("z", 1)]
        .unflatten(-1, (model.shape.n_heads, -1))[:, :, 2]
    )
    expected = torch.stack([z[1, len(two[1]) - 1], z[0, len(two[0]) - 1]])
    assert torch.allclose(edit.value, expected, atol=1e-5)
    with pytest.raises(LabError, match="needs two prompts, but there is one"):
        plan_of(at_end, Engine(model, one))


def test_the_old_name_of_a_key_is_understood_in_an_old_config():
    assert Ablate.from_config({"run": "corrupted"}, "intervention") == Ablate(prompts="corrupted")
    with pytest.raises(LabError, match=r"intervention.run: this key is now intervention.prompts"):
        Ablate.from_config({"run": "corrupted", "prompts": "clean"}, "intervention")
