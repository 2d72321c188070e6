"""Knockouts against the interventions that make the same edits from a config."""

from __future__ import annotations

import pytest

from ioi_lab.circuits.knockout import Knockout, PlacedHead
from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.ablate import Ablate
from ioi_lab.models.loading import load_model
from tests.conftest import ioi_task, model_config

HEADS = [PlacedHead(2, 0, "END"), PlacedHead(1, 2, "S2"), PlacedHead(1, 2, "END")]


@pytest.fixture(scope="module")
def engine(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    return Engine(model, ioi_task(n=4).prompt_pairs(model.tokens))


@pytest.fixture(scope="module")
def knockout(engine):
    return Knockout(engine, n_reference=3, seed=1)


@pytest.mark.parametrize("sets", ["together", "except"])
def test_knockouts_are_those_of_the_intervention(engine, knockout, sets):
    ablation = Ablate(
        head=[head.name for head in HEADS], sets=sets, method="mean_by_position", reference="abc", n_reference=3, seed=1
    )
    expected = engine.run(ablation.plan(ablation.rows(engine.shape, engine.prompts), engine), "clean").logit_diff
    edits = knockout.of(HEADS) if sets == "together" else knockout.of_all_but(HEADS)
    assert knockout.logit_diffs([edits]) == pytest.approx(expected, abs=1e-5)
    assert abs(expected - engine.baseline("clean").logit_diff).max() > 0.1


def test_nothing_knocked_out_is_the_whole_model(engine, knockout):
    everything = [PlacedHead(layer, head, "all") for layer in range(4) for head in range(4)]
    clean = engine.baseline("clean").logit_diff
    assert knockout.logit_diffs([knockout.of([])]) == pytest.approx(clean)
    assert knockout.of_all_but(everything) == []
    assert len(knockout.of_all_but([])) == 16


def test_names_of_placed_heads():
    assert [head.name for head in sorted(HEADS)] == ["1.2@END", "1.2@S2", "2.0@END"]
