"""Recovery in other measures than the logit difference: against the plain model, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.interventions.ablate import Ablate
from ioi_lab.interventions.attribution_patch import AttributionPatch
from ioi_lab.interventions.patch import Patch
from ioi_lab.interventions.recovery import MEASURES, check_recoverable, column_of, engine_for, read
from ioi_lab.models.loading import load_model
from ioi_lab.runs.nulls import null_value
from ioi_lab.stats.metrics import Readout
from tests.conftest import hugging_face, ioi_task, model_config
from tests.engine.test_targets import with_sets
from tests.interventions.toy import CONTEXT
from tests.oracle import edited_end_logits


@pytest.fixture(scope="module")
def setup(folders):
    model = load_model(model_config(folders["tiny-gpt2"]))
    prompts = with_sets(ioi_task(n=3, corruption="abc").prompt_pairs(model.tokens))
    return Engine(model, prompts), hugging_face(folders["tiny-gpt2"])


def values(logits, clean, pair):
    """The measures of one prompt, from the logits of an edited and of the clean pass."""
    probabilities, log_probs = logits.softmax(-1), logits.log_softmax(-1)
    answers, distractors = (probabilities[list(ids)].sum() for ids in (pair.answer_ids, pair.distractor_ids))
    rank = 1 + (logits > logits[list(pair.answer_ids)].max()).sum()
    return {
        "prob_diff": float(answers - distractors),
        "kl": -float((clean.softmax(-1) * (clean.log_softmax(-1) - log_probs)).sum()),
        "rank": -float(rank.float().log()),
    }


@pytest.mark.parametrize(
    "intervention",
    [
        Patch(layer=[0, 2], head=[0, 1]),
        Patch(layer=[0, 2], head=[0, 1], direction="noise"),
        Ablate(layer=[0, 2], head=[0, 1], method="zero"),
    ],
    ids=["denoise", "noise", "ablate"],
)
def test_each_measure_equals_the_plain_model(setup, intervention):
    engine, plain = setup
    rows = intervention.rows(engine.shape, engine.prompts)
    plan = intervention.plan(rows, engine)
    found = {name: [[], [], []] for name in ("prob_diff", "kl", "rank")}
    for row, pair in enumerate(engine.prompts):
        clean, corrupted = (edited_end_logits(plain, pair, row, [], which) for which in ("clean", "corrupted"))
        edited = [edited_end_logits(plain, pair, row, edits, intervention.base) for edits in plan]
        for place, logits in enumerate((edited, [clean], [corrupted])):
            each = [values(one, clean, pair) for one in logits]
            for name, lists in found.items():
                lists[place].append([value[name] for value in each])
    for name, lists in found.items():
        edited, clean, corrupted = (np.array(value).mean(axis=0) for value in lists)
        expected = (edited - corrupted) / (clean - corrupted)
        result = intervention.model_copy(update={"metric": name}).measure(engine)
        column = result.estimates[f"recovery_{name}"]
        assert column.value == pytest.approx(expected, abs=1e-3), name
        change = expected - (0 if intervention.base == "corrupted" else 1)
        assert result.effect.value == pytest.approx(change, abs=1e-3)
        plain_recovery = intervention.measure(engine).estimates["recovery"].value
        assert result.estimates["recovery"].value == pytest.approx(plain_recovery, abs=1e-6)


def test_reports_name_the_measure(setup):
    engine, _ = setup
    intervention = Patch(layer=[0], metric="kl")
    report = intervention.report(intervention.measure(engine), CONTEXT)
    assert {"recovery", "recovery_kl", "kl_clean"} <= set(report.table.columns)
    assert report.headline == "best_recovery_kl"
    assert report.metrics["best_recovery_kl"] == pytest.approx(report.table["recovery_kl"].abs().max())
    assert {chart.value for chart in report.charts} == {"recovery_kl"}
    assert "recovery of the KL from the clean pass" in report.summary[0]
    label = report.draw()["recovery_by_head"].axes[-1].get_ylabel()
    assert " ".join(label.split()) == "recovery of the KL from the clean pass (0 = corrupted, 1 = clean)"


def test_readouts_with_more_values_are_not_shared_with_others(setup):
    engine, _ = setup
    other = engine_for(engine, "rank")
    assert engine_for(engine, "prob_diff") is engine
    assert other.batch_key != engine.batch_key
    assert engine.baseline("clean").rank is None
    assert other.baseline("clean").rank is not None
    assert other.baseline("clean").kl_clean is None


def test_without_probabilities_there_is_only_the_logit_difference(setup):
    engine, _ = setup
    pair_only = Engine(engine.model, engine.prompts, readout="logit_diff")
    for metric in ("prob_diff", "kl", "rank"):
        with pytest.raises(LabError, match=f"intervention.metric: got '{metric}', but engine.readout=logit_diff reads"):
            Patch(layer=[0], metric=metric).measure(pair_only)


def test_a_measure_that_the_corruption_does_not_change_is_refused():
    with pytest.raises(LabError, match="got 'rank', but clean and corrupted prompts give the same mean log rank"):
        check_recoverable(np.zeros((1, 4)), np.full((1, 4), 1e-6), "rank")


def test_estimates_are_of_the_logit_difference_alone():
    with pytest.raises(LabError, match=r"intervention.metric: got 'kl', but attribution patching estimates the logit"):
        AttributionPatch(metric="kl")


def test_the_measures_of_a_readout():
    readout = Readout(*(np.full((1, 2), value) for value in (3.0, 4, 1, 0.5, 0.2, 9, 0.7, 10)))
    got = {name: float(read(readout, name)[0, 0]) for name in MEASURES}
    assert got == pytest.approx({"logit_diff": 3.0, "prob_diff": 0.3, "kl": -0.7, "rank": -np.log(10)})
    assert [column_of(name) for name in ("logit_diff", "rank")] == ["recovery", "recovery_rank"]


@pytest.mark.parametrize("metric", MEASURES)
def test_summaries_know_each_column_of_recovery(metric):
    for column in (column_of(metric), f"best_{column_of(metric)}"):
        assert null_value(column, {"name": "patch", "direction": "noise"}) == 1
        assert null_value(column, {"name": "patch", "direction": "denoise"}) == 0
