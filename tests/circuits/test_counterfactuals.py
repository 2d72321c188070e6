"""What writers write, and what ablated edges carry: by hand on plain models."""

from __future__ import annotations

import pytest
import torch

from ioi_lab.circuits.counterfactuals import ABLATIONS, Counterfactual, written_in
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from tests.circuits.setups import Setup
from tests.conftest import ioi_task


def buckets_of(setup):
    return [Bucket(setup.prompts, rows, torch.device("cpu")) for rows in setup.prompts.buckets().values()]


def assert_equal(setup, bucket, outputs, expected):
    """Compare outputs `[writer, row, pos, d_model]` with what `expected` says of each prompt."""
    for number, row in enumerate(bucket.rows):
        by_hand = expected(row)
        for writer, output in zip(setup.graph().writers, outputs[:, number], strict=True):
            torch.testing.assert_close(output, by_hand[writer.name], atol=2e-5, rtol=0)


@pytest.mark.parametrize("which", ["clean", "corrupted"])
def test_writers_write_what_they_write_by_hand(setup, which):
    bucket = buckets_of(setup)[1]
    outputs = written_in(setup.engine, setup.wiring(), bucket, which)
    assert_equal(setup, bucket, outputs, lambda row: setup.written(setup.prompts[row], which))


@pytest.mark.parametrize("ablation", [each for each in ABLATIONS if each != "mean_by_position"])
def test_ablated_edges_carry_what_the_ablation_says(setups, ablation):
    setup = setups["llama-gqa"]
    counterfactual = Counterfactual.of(setup.engine, setup.wiring(), ablation)
    assert counterfactual.keeps_shared_prefix == (ablation == "corrupted")
    for bucket in buckets_of(setup):
        assert_equal(setup, bucket, counterfactual.outputs(bucket), lambda row: setup.instead(row, ablation))


def test_means_by_position_are_over_prompts_of_one_sentence(setups):
    of = setups["tiny-gpt2"]
    prompts = ioi_task(n=8, corruption="abc", template=0).prompt_pairs(of.model.tokens)
    assert len({pair.frame for pair in prompts}) == 2  # the names in both orders
    setup = Setup(of.model, of.plain, prompts, Engine(of.model, prompts))
    counterfactual = Counterfactual.of(setup.engine, setup.wiring(), "mean_by_position")
    (bucket,) = buckets_of(setup)
    assert_equal(setup, bucket, counterfactual.outputs(bucket), lambda row: setup.instead(row, "mean_by_position"))


@pytest.mark.parametrize(
    ("ablation", "line"),
    [
        ("mean_by_position", "got 'mean_by_position', but no other prompt agrees with 'W.*; expected mean, or more"),
        ("resample", r"got 'resample', but only one prompt has \d+ tokens; expected corrupted, mean or zero"),
    ],
)
def test_prompts_without_another_like_them_are_refused(setups, ablation, line):
    setup = setups["tiny-gpt2"]
    engine = Engine(setup.model, setup.prompts.only(0))
    with pytest.raises(LabError, match=f"^intervention.ablation: {line}") as raised:
        Counterfactual.of(engine, setup.wiring(), ablation)
    assert "\n" not in str(raised.value)


def test_the_seed_draws_another_prompt_for_each(setups):
    of = setups["tiny-gpt2"]
    prompts = ioi_task(n=6, template=0).prompt_pairs(of.model.tokens)
    engine = Engine(of.model, prompts)
    (rows,) = prompts.buckets().values()
    bucket = Bucket(prompts, rows, torch.device("cpu"))
    clean = written_in(engine, of.wiring(), bucket, "clean")
    drawn = []
    for seed in range(3):
        other = Counterfactual.of(engine, of.wiring(), "resample", seed).outputs(bucket)
        is_equal = [[torch.equal(other[:, a], clean[:, b]) for b in range(6)] for a in range(6)]
        assert [sum(row) for row in is_equal] == [1] * 6
        assert [sum(column) for column in zip(*is_equal, strict=True)] == [1] * 6  # each is used once
        assert not any(is_equal[row][row] for row in range(6))
        drawn.append(is_equal)
    assert drawn[0] != drawn[1] or drawn[1] != drawn[2]
