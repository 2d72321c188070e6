"""Whole measurements: baselines, self-checks, intervals from the run's seed, and maps from a file."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.interventions.transfer.config import Transfer
from ioi_lab.reports.report import ReportContext
from ioi_lab.stats.bootstrap import Bootstrap
from ioi_lab.stats.metrics import Readout
from tests.conftest import ioi_task

FEW = {"scale": [-1.0, 0.5], "controls": 5, "unrelated": 39, "alignment": {"source_layers": 3, "target_layers": 3}}


def transfer(**changes):
    return Transfer.from_config({"through": "vocabulary"} | FEW | changes, "intervention")


@pytest.fixture(scope="module")
def engine(tiny_models):
    return Engine(tiny_models[1], ioi_task(n=24).prompt_pairs(tiny_models[1].tokens), seed=5)


@pytest.fixture(scope="module")
def result(engine):
    return transfer().measure(engine)


@pytest.mark.long
def test_the_baselines_are_those_of_the_held_out_prompts_of_the_runs_own_model(engine, result):
    assert len(result.baselines.prompts) == result.forward.n_prompts == 12
    alone = Engine(engine.model, result.baselines.prompts)
    assert result.baselines.clean.logit_diff == pytest.approx(alone.baseline("clean").logit_diff, abs=1e-5)


def test_intervals_are_taken_from_the_runs_seed(engine, result):
    expected = Bootstrap(12, 5).mean(result.baselines.clean.logit_diff)
    got = result.baselines.estimates["clean"]["logit_diff"]
    assert (got.low, got.high) == (expected.low, expected.high)
    unscaled = Engine(engine.model, engine.prompts, seed=6)
    assert not np.array_equal(
        transfer(both=False).measure(unscaled).forward.slopes.native.low, result.forward.slopes.native.low
    )


def test_both_directions_are_checked_and_named(result):
    assert list(result.directions) == ["forward", "backward"]
    assert result.forward.name == "tiny-gpt2 → tiny-pythia"
    assert result.backward.name == "tiny-pythia → tiny-gpt2"
    assert result.checks.everything == pytest.approx(1, abs=1e-3)
    assert result.checks.nothing == pytest.approx(0, abs=1e-3)
    assert (result.map_title, result.new_maps_file, result.is_one_model) == (None, None, False)


def test_a_check_that_fails_stops_the_measurement(engine, monkeypatch):
    """The self-checks go through the pass in which vectors are added: there a wrong result is found."""
    plain = Engine.run

    def wrong(self, edit_sets, base, **options):
        readout = plain(self, edit_sets, base, **options)
        return Readout(0.9 * readout.logit_diff) if len(edit_sets) > 4 else readout

    monkeypatch.setattr(Engine, "run", wrong)
    with pytest.raises(LabError, match=r"^self-check: patching everything moved"):
        transfer(both=False).measure(engine)


@pytest.mark.long
def test_a_file_of_maps_is_written_only_for_new_maps(engine, tmp_path):
    fitted = transfer(through="maps", both=False, corpus={
        "_target_": "ioi_lab.alignment.corpora.TinyEnglish", "name": "tiny_english", "n": 100, "seed": 0
    }).measure(engine)  # fmt: skip
    assert fitted.map_title == "ridge map fitted on tiny english"
    file = tmp_path / "maps.safetensors"
    file.write_bytes(fitted.new_maps_file)
    read = transfer(through="maps", both=False, maps=str(file)).measure(engine)
    assert read.new_maps_file is None
    assert read.forward.slopes.carried.value == pytest.approx(fitted.forward.slopes.carried.value, abs=1e-3)
    assert read.forward.map_r2 == pytest.approx(fitted.forward.map_r2)


def test_the_report_of_one_direction_has_no_backward(engine):
    one = transfer(both=False)
    report = one.report(one.measure(engine), ReportContext("tiny-pythia", "ioi (s2)"))
    assert not any(name.startswith("backward") for name in report.metrics)
    assert report.provenance["source_model"]["name"] == "tiny-gpt2"
