"""A study as a job: its folder, its identity, and its failure."""

from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from ioi_lab.jobs.job import PreparedJob, run_job
from ioi_lab.runs.reading import read_run
from ioi_lab.studies.study import Study, prepare_study
from tests.studies.conftest import SMALL, config_of, study_of


def test_a_finished_study_is_done_with_its_steps_in_folders(small_study):
    assert read_run(small_study, contents=True).is_done
    folders = sorted(path.name for path in small_study.iterdir() if path.is_dir())
    names = ["baseline", "heads", "attention", "into_v", "attribution", "knockout", "sufficiency"]
    assert folders == [f"{number:02d}-{name}" for number, name in enumerate(names, start=1)]
    assert all(read_run(small_study / folder).is_done for folder in folders)


def test_titles_and_models():
    study = study_of("model=tiny-pythia", "source=tiny-gpt2".replace("source", "model@source"), "tracker=none")
    assert study.title == "study · tiny-pythia · ioi"
    assert set(study.models) == {"model", "source"}
    assert study.steps[-1].name == "transfer"
    assert study.tags == ("tiny-pythia", "ioi")


def test_a_study_with_a_failed_step_fails_after_its_report_is_written(tmp_path):
    config = config_of(*SMALL, "study.steps=[baseline,heads]", "steps.heads.intervention.layer=99")
    with pytest.raises(LabError, match=r"^the step heads failed: steps\.heads\.intervention\.layer: got 99"):
        run_job(PreparedJob.of(config_without_hydra(config), Study, {}), tmp_path)
    assert read_run(tmp_path).state == "failed"
    assert "The step heads failed" in (tmp_path / "summary.txt").read_text()


def test_a_study_that_is_typed_is_prepared():
    from omegaconf import OmegaConf

    prepared = prepare_study(OmegaConf.create(config_without_hydra(config_of(*SMALL))))
    assert prepared.job.kind == "study"


def config_without_hydra(config):
    return {key: value for key, value in config.items() if key != "hydra"}
