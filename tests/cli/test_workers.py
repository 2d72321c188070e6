"""Workers whose command is killed, in small processes that do not import the lab's models."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid

import psutil
import pytest
from joblib.externals.loky.process_executor import BrokenProcessPool, TerminatedWorkerError
from omegaconf import OmegaConf
from submitit.core.utils import UncompletedJobError

from ioi_lab.cli import workers
from ioi_lab.cli.workers import end_with_command, end_workers_with, has_lost_a_worker, launcher_of
from ioi_lab.config import CONFIG_FOLDER
from tests.jobs.test_launchers import until

JOBLIB = """
import os, time
from hydra.utils import instantiate
from joblib import Parallel, delayed
from omegaconf import OmegaConf
from ioi_lab.cli.workers import end_workers_with

def work():
    print("at work", flush=True)
    time.sleep(60)

config = OmegaConf.create({"hydra": {"launcher": {"_target_": "a.JoblibLauncher", "n_jobs": 2}}})
end_workers_with(config, os.getpid())
del config.hydra.launcher._target_
Parallel(**instantiate(config.hydra.launcher), backend="loky")([delayed(work)()])
"""

CHAIN = """
import os, subprocess, sys, time
from ioi_lab.cli.workers import end_with
if len(sys.argv) == 1:
    subprocess.run([sys.executable, __file__, str(os.getpid())])
elif len(sys.argv) == 2:
    subprocess.run([sys.executable, __file__, sys.argv[1], "job"])
else:
    end_with(int(sys.argv[1]))
    print("at work", flush=True)
    time.sleep(60)
"""


def processes(mark: str) -> list[psutil.Process]:
    """All processes that descend from the one that was started with this mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.processes
@pytest.mark.parametrize(("script", "count"), [(JOBLIB, 4), (CHAIN, 3)], ids=["joblib", "a job of a job's process"])
def test_workers_end_with_a_command_that_is_killed(tmp_path, script, count):
    """Also joblib's second worker, which has no job, and its resource tracker."""
    (tmp_path / "script.py").write_text(script)
    mark = uuid.uuid4().hex
    pipe = subprocess.PIPE
    command = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"MARK": mark, "PYTHONPATH": str(CONFIG_FOLDER.parent)},
        stdout=pipe,
        stderr=pipe,
        text=True,
    )
    assert command.stdout is not None
    assert command.stdout.readline() == "at work\n"
    until(lambda: len(processes(mark)) >= count or None, 20)
    command.send_signal(signal.SIGKILL)
    until(lambda: processes(mark) == [] or None, 20)
    _, err = command.communicate(timeout=20)
    assert err == ""


def config(**launcher):
    return OmegaConf.create({"hydra": {"launcher": launcher}})


@pytest.mark.parametrize(
    ("launcher", "ends"),
    [
        ({"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"}, True),
        ({"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"}, False),
        (
            {
                "_target_": "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
                "ray": {"init": {"address": None}},
            },
            True,
        ),
        (
            {
                "_target_": "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
                "ray": {"init": {"address": "auto"}},
            },
            False,
        ),
        ({"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}, False),
    ],
    ids=lambda value: launcher_of(config(**value)) if isinstance(value, dict) else str(value),
)
def test_jobs_on_this_machine_end_with_the_command_and_those_of_a_cluster_go_on(monkeypatch, launcher, ends):
    watched = []
    monkeypatch.setattr(workers, "end_with", watched.append)
    end_with_command(config(**launcher), 1)
    assert watched == ([1] if ends else [])
    end_with_command(config(**launcher), os.getpid())
    assert len(watched) == ends


def test_other_launchers_stay_as_they_are():
    before = config(_target_="hydra._internal.core_plugins.basic_launcher.BasicLauncher")
    after = before.copy()
    end_workers_with(after, 1)
    assert after == before


@pytest.mark.parametrize("kind", [TerminatedWorkerError, BrokenProcessPool, UncompletedJobError])
def test_errors_for_a_lost_worker(kind):
    assert has_lost_a_worker(kind("gone"))
    assert not has_lost_a_worker(RuntimeError("gone"))
