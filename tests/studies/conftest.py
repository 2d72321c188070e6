"""A study of the packaged model, run once for all tests that read it."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ioi_lab.python.session import composed
from ioi_lab.studies.findings import Findings
from ioi_lab.studies.study import Study

SMALL = (
    "tracker=none",
    "figures=false",
    "task.n=16",
    "study.steps=[baseline,heads,attention,into_v,attribution,knockout,sufficiency]",
    "steps.sufficiency.intervention.n_reference=2",
)
"""A study without the steps that take long."""


def config_of(*overrides: str) -> dict:
    """The resolved config of `ioi-lab study` with these overrides."""
    return deepcopy(_config_of(overrides))


@lru_cache(maxsize=64)
def _config_of(overrides: tuple[str, ...]) -> dict:
    return OmegaConf.to_container(composed("study", overrides), resolve=True)


def study_of(*overrides: str) -> Study:
    return Study.from_config({key: value for key, value in config_of(*overrides).items() if key != "hydra"}, {})


@pytest.fixture(scope="session")
def small_study(tmp_path_factory) -> Path:
    """The folder of a finished study with `SMALL`."""
    from ioi_lab.jobs.job import PreparedJob, run_job

    folder = tmp_path_factory.mktemp("study")
    config = {key: value for key, value in config_of(*SMALL).items() if key != "hydra"}
    run_job(PreparedJob.of(config, Study, {}), folder)
    return folder


@pytest.fixture
def findings(small_study) -> Findings:
    """What its steps have found."""
    folders = {path.name.partition("-")[2]: path for path in small_study.iterdir() if path.is_dir()}
    return Findings(["BOS", "IO", "S1", "S1+1", "S2", "END"], is_ioi=True, max_heads=3, max_layers=2, folders=folders)
