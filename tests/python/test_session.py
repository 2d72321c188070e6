"""Hydra inside a program: it leaves nothing behind, and passes interruptions on."""

from __future__ import annotations

import logging
import sys

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf.basecontainer import BaseContainer

import ioi_lab as lab
from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.runs.reading import read_run
from tests.python.conftest import QUICK


@pytest.mark.parametrize("call", [lab.run, lab.sweep])
def test_the_programs_own_hydra_and_logging_stay_as_they_are(call, tmp_path):
    root = logging.getLogger()
    before = list(root.handlers), root.level, list(sys.argv), HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.2"):
        own, resolvers = GlobalHydra.instance().hydra, dict(BaseContainer._resolvers)
        call(figures=False, **QUICK)
        assert GlobalHydra.instance().hydra is own
        assert BaseContainer._resolvers == resolvers
        assert compose("sweep").name == "patch"
    assert not GlobalHydra.instance().is_initialized()
    assert (list(root.handlers), root.level, list(sys.argv), HydraConfig.instance().cfg) == before


def test_the_log_is_in_the_folder_and_not_printed(tmp_path, capfd):
    run = lab.run(figures=False, **QUICK)
    assert "patch z · tiny-gpt2 · ioi" in (run.folder / "log.txt").read_text()
    assert "patch z" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("call", [lab.run, lab.sweep])
def test_an_interruption_is_passed_on(call, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ioi_lab.interventions.grid.GridIntervention.measure", interrupt)
    with pytest.raises(KeyboardInterrupt):
        call(figures=False, **QUICK)
    (folder,) = {path.parent for path in tmp_path.rglob("status.json")}
    assert read_run(folder).reason == "interrupted"
    assert not GlobalHydra.instance().is_initialized()


def test_a_bug_is_raised_as_it_is(tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("ioi_lab.interventions.grid.GridIntervention.measure", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        lab.run(figures=False, **QUICK)
    (folder,) = {path.parent for path in tmp_path.rglob("status.json")}
    assert read_run(folder).state == "failed"


def test_an_empty_sweep_is_one_line(tmp_path):
    with pytest.raises(lab.LabError, match=r"intervention\.layer=range\(3,3\): stands for no value"):
        lab.sweep("intervention.layer=range(3,3)", **QUICK)


def test_a_traceback_is_raised_if_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="Could not override 'modle'"):
        lab.run(modle="x")
