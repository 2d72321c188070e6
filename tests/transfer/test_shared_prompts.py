"""Prompts whose answers are single tokens in both of two models."""

from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from tests.conftest import ioi_task
from tests.transfer.conftest import on_prompts


def test_both_models_have_the_same_prompts(both):
    source, target = on_prompts(both)
    for one, other in zip(source.contrast.held_out, target.contrast.held_out, strict=True):
        assert (one.steered.clean, one.steered.answer, one.sign) == (
            other.steered.clean,
            other.steered.answer,
            other.sign,
        )
        assert one.sides.corrupted == other.sides.corrupted
    trained = {prompt.steered.answer for prompt in target.contrast.training}
    assert not trained & {prompt.steered.answer for prompt in target.contrast.held_out}


def test_other_names_are_those_of_the_prompts_without_the_two_of_the_contrast(both):
    _, plain = on_prompts(both)
    assert plain.other_names == ()
    _, target = on_prompts(both, contrast="name_pair")
    prompts = ioi_task(n=24).prompt_pairs(both[1].tokens)
    names = {name.strip() for pair in prompts for name in (pair.answer, pair.distractor)}
    assert set(target.other_names) == names - {"James", "Robert"}
    assert len(target.other_names) == len(set(target.other_names))
    assert target.contrast_name == "name_pair"


def test_prompts_that_the_source_cannot_read_are_reported(both, monkeypatch):
    monkeypatch.setattr("ioi_lab.transfer.shared_prompts.in_other_model", lambda *_: None)
    with pytest.raises(LabError, match=r"intervention\.source: of 24 prompts, 0 have an answer and a distractor"):
        on_prompts(both)


def test_intervals_are_taken_from_the_given_seed(both):
    from ioi_lab.stats.bootstrap import Bootstrap
    from ioi_lab.transfer.shared_prompts import on_shared_prompts

    prompts = ioi_task(n=24).prompt_pairs(both[1].tokens)
    models = on_shared_prompts(both, prompts, "clean_corrupt", ("", ""), 0, "auto", bootstrap_seed=7)
    for model in models:
        readout = model.held_out.baseline("clean")
        expected = Bootstrap(len(model.held_out.prompts), 7).mean(readout.logit_diff)
        assert model.held_out.bootstrap.mean(readout.logit_diff).low == expected.low
