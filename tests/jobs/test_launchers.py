"""The same sweep under every launcher that tests can reach."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ioi_lab.config import CONFIG_FOLDER
from tests.conftest import run_folders

SWEEP = Path(__file__).resolve().parents[2] / "sweep.py"
SHORT = ("tracker=none", "task.n=4", "figures=false")
GRID = (*SHORT, "intervention.layer=0,2,9")
MISTAKE = "intervention.layer: got 9, expected 0 to 3"


def command(*overrides: str) -> list[str]:
    return [sys.executable, str(SWEEP), "-m", *overrides]


def run(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*overrides), cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def basic(sweep, tmp_path) -> list[Path]:
    """The runs of the basic launcher, in this process."""
    assert sweep("-m", *GRID).code == 1
    return in_order(tmp_path)


def in_order(folder: Path) -> list[Path]:
    return sorted(run_folders(folder), key=lambda path: int(path.name))


@pytest.mark.processes
@pytest.mark.parametrize(
    "launcher",
    [
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"),
        # Ray's dashboard is a dozen processes more.
        (
            "hydra/launcher=ray",
            "+hydra.launcher.ray.init.num_cpus=2",
            "+hydra.launcher.ray.init.include_dashboard=false",
        ),
    ],
    ids=lambda launcher: launcher[0].split("=")[1],
)
def test_other_processes_give_the_files_and_mistakes_of_the_basic_launcher(basic, tmp_path_factory, launcher):
    folder = tmp_path_factory.mktemp("other")
    outcome = run(folder, *GRID, *launcher)
    assert outcome.returncode == 1, outcome.stderr
    assert "3 runs (2 done, 1 failed)" in outcome.stdout
    assert MISTAKE in outcome.stdout
    others = in_order(folder)
    assert [other.name for other in others] == [one.name for one in basic]
    for one, other in zip(basic[:2], others[:2], strict=True):
        for name in ("results.csv", "metrics.json", "prompts.csv"):
            assert (one / name).read_text() == (other / name).read_text()


@pytest.mark.parametrize(
    ("launcher", "key", "value"),
    [
        ("submitit_slurm", "max_num_timeout", 0),
        ("ray", "ray.init.address", None),
        ("ray_cluster", "ray.init.address", "auto"),
        ("ray_cluster", "ray.init.object_store_memory", None),  # Ray refuses any, of a cluster that runs already
        ("batch", "wave", 128),
    ],
)
def test_launchers_are_there_by_name(launcher, key, value):
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = compose("sweep", [f"hydra/launcher={launcher}"], return_hydra_config=True)
    assert OmegaConf.select(config.hydra.launcher, key, default="missing") == value


@pytest.mark.processes
def test_a_preempted_job_is_requeued_and_finishes(basic, tmp_path_factory):
    """SIGTERM at a job that is at work, as a cluster sends it that wants the machine for somebody else."""
    tmp_path = tmp_path_factory.mktemp("preempted")
    overrides = (*SHORT, "intervention.layer=2", "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=60")
    environment = os.environ | {"SUBMITIT_PREEMPT_SIGNAL": "TERM"}
    sweep = subprocess.Popen(
        command(*overrides), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder = until(lambda: next(iter(run_folders(tmp_path)), None))
    log = until(lambda: next(iter(tmp_path.glob("runs/*/*/.submitit/*/*_log.err")), None))
    (task,) = psutil.Process(int(log.parent.name)).children()
    task.send_signal(signal.SIGTERM)
    out, err = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, err
    told = log.with_suffix(".out").read_text()
    assert "this job is preempted" in told
    assert "Requeued job" in told
    assert json.loads((folder / "status.json").read_text())["status"] == "done"
    assert "1 runs (1 done)" in out
    assert (folder / "metrics.json").read_text() == (basic[1] / "metrics.json").read_text()


def until(found, seconds: float = 60.0):
    """What `found` finds, once it does."""
    end = time.monotonic() + seconds
    while (result := found()) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    return result
