"""The two unedited passes: their scalars, table and lines."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine, run_now
from ioi_lab.interventions.baselines import Baselines, estimates_of
from ioi_lab.models.loading import load_model
from ioi_lab.stats.metrics import Readout
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config
from tests.interventions.toy import CLEAN, CORRUPTED, PROMPTS, ToyEngine


def lines(clean: float, corrupted: float) -> list[str]:
    readouts = (Readout(np.full((1, 4), value)) for value in (clean, corrupted))
    return Baselines(PROMPTS, *readouts, {}).lines()


def test_a_warning_if_the_model_does_not_do_the_task():
    assert lines(3.0, -1.0) == [
        "clean prompts: logit difference 3.00, accuracy 1.00",
        "corrupted prompts: logit difference -1.00, accuracy 0.00",
    ]
    for clean, corrupted in ((-0.5, -1.0), (1.0, 2.0)):
        assert lines(clean, corrupted)[-1].startswith("warning: the model does not do")


def test_scalars_of_both_passes_without_constants():
    metrics = Baselines.measure(ToyEngine()).metrics()
    assert metrics["n_prompts"] == 4
    assert metrics["clean_logit_diff"] == CLEAN
    assert metrics["corrupted_logit_diff"] == CORRUPTED
    assert not any(name.endswith(("recovery", "kl")) for name in metrics)


def test_the_prompts_can_be_used_again_as_pairs():
    columns = Baselines.measure(ToyEngine()).prompt_columns()
    assert list(columns) == [
        "clean", "corrupt", "answer", "distractor", "clean_logit_diff", "corrupted_logit_diff",
    ]  # fmt: skip
    assert columns["answer"] == [" a"] * 4


def test_recovery_runs_from_corrupted_to_clean():
    engine = ToyEngine()
    for which, expected in (("clean", 1.0), ("corrupted", 0.0)):
        assert estimates_of(engine, engine.baseline(which))["recovery"].value == pytest.approx([expected])


def test_jobs_that_share_an_engine_share_its_baselines():
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    engine = Engine(model, ioi_task(n=8).prompt_pairs(model.tokens))

    def job() -> Baselines:
        return Baselines.measure(engine.with_executor(lambda *request: run_now(*request)))

    assert job() is job()
    others = Engine(model, ioi_task(n=8, seed=1).prompt_pairs(model.tokens))
    means = [each.estimates["clean"]["logit_diff"].value for each in (job(), Baselines.measure(others))]
    assert means[0] != means[1]
