"""Sweeps on a real Slurm whose jobs are preempted: `make test-slurm`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import run_folders

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(shutil.which("slurmctld") is None, reason="`make slurm` installs it"),
]
START = Path(__file__).with_name("start.sh")
SWEEP = Path(__file__).resolve().parents[2] / "sweep.py"
ROOT = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
SWEEP_SECONDS = 420
GRID = ("-m", "tracker=none", "figures=false", "task._target_=slow_task.SlowTask", "intervention.layer=0,1,2,3")
SLOW_TASK = '''
import time
from pathlib import Path

from ioi_lab.tasks.ioi import IOITask


class SlowTask(IOITask):
    """Its jobs are at work until the test lets them go on."""

    def prompt_pairs(self, tokens):
        while not Path(__file__).with_name("go_on").exists():
            time.sleep(0.1)
        return super().prompt_pairs(tokens)
'''


@pytest.fixture(scope="module")
def plugins(tmp_path_factory) -> Path:
    """A folder with a task whose jobs go on as soon as there is a file `go_on` in it."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "slow_task.py").write_text(SLOW_TASK)
    return folder


@pytest.fixture(scope="module")
def environment_of_jobs(plugins) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(plugins), str(SWEEP.parent), os.environ.get("PYTHONPATH")]))
    return os.environ | {"IOI_LAB_PLUGINS": "slow_task", "PYTHONPATH": path}


@pytest.fixture(scope="module")
def slurm(environment_of_jobs) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find the one that was started for these tests."""
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # a socket's path must be short
    try:
        subprocess.run([*ROOT, "bash", str(START), str(folder)], check=True, timeout=120)
        yield environment_of_jobs | {"SLURM_CONF": str(folder / "slurm.conf")}
    finally:
        subprocess.run([*ROOT, "bash", str(START), "stop", str(folder)], check=True, timeout=120)
        subprocess.run([*ROOT, "rm", "-r", str(folder)], check=True)


@pytest.fixture(scope="module")
def basic(tmp_path_factory, plugins, environment_of_jobs) -> Path:
    """The runs of the basic launcher."""
    folder = tmp_path_factory.mktemp("basic")
    (plugins / "go_on").touch()
    command = [sys.executable, str(SWEEP), *GRID]
    subprocess.run(command, cwd=folder, env=environment_of_jobs, check=True, timeout=SWEEP_SECONDS)
    return folder


def queue(environment: dict[str, str], form: str) -> list[str]:
    command = ["squeue", "--noheader", "--array", "--states=all", f"--format={form}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def wait_until(holds, process: subprocess.Popen[str], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("announced_by", [None, "TERM"], ids=["plain", "SUBMITIT_PREEMPT_SIGNAL=TERM"])
def test_preempted_jobs_are_done_in_the_end(slurm, basic, plugins, tmp_path, announced_by):
    (plugins / "go_on").unlink()
    environment = slurm if announced_by is None else slurm | {"SUBMITIT_PREEMPT_SIGNAL": announced_by}
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=low")
    command = [sys.executable, str(SWEEP), *GRID, *launcher]
    pipe = subprocess.PIPE
    sweep = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True)
    try:
        wait_until(lambda: any((run / "log.txt").is_file() for run in run_folders(tmp_path)), sweep)
        high = ["sbatch", "--parsable", "--partition=high", "--ntasks=2", "--output=/dev/null", "--wrap=sleep 1"]
        job = subprocess.run(high, env=environment, check=True, capture_output=True, text=True).stdout.strip()
        wait_until(lambda: f"{job}/COMPLETED" in queue(environment, "%i/%T"), sweep)
        wait_until(lambda: restarts(environment) > 0, sweep)
        (plugins / "go_on").touch()
        back = [job for job in queue(environment, "%i/%P/%T") if job.endswith("/low/PENDING")]
        for name in back:  # Slurm would wait two minutes before it starts them again
            update = ["scontrol", "update", f"jobid={name.partition('/')[0]}", "starttime=now"]
            as_root = [*ROOT, "env", f"SLURM_CONF={environment['SLURM_CONF']}", *update]
            subprocess.run(as_root, check=False)  # fails for a job that has started meanwhile
        out, err = sweep.communicate(timeout=SWEEP_SECONDS)
    finally:
        sweep.kill()
        subprocess.run(["scancel", "--partition=low"], env=environment, check=False)
    assert sweep.returncode == 0, err
    assert "4 runs (4 done)" in out
    assert "sacct" not in out + err
    assert "failed" not in out + err
    (table,) = tmp_path.glob("runs/*/*/sweep.csv")
    assert list(pd.read_csv(table)["status"]) == ["done"] * 4
    for one, other in zip(run_folders(basic), run_folders(tmp_path), strict=True):
        for name in ("results.csv", "metrics.json"):
            assert (one / name).read_bytes() == (other / name).read_bytes()


def restarts(environment: dict[str, str]) -> int:
    """How many of the latest sweep's jobs Slurm has put back into the queue."""
    command = ["scontrol", "show", "job", "--oneliner"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    latest = max(re.findall(r"ArrayJobId=(\d+)", "\n".join(shown)), key=int)
    return sum(f"ArrayJobId={latest} " in line and "Restarts=0" not in line for line in shown)


def test_a_job_that_slurm_kills_ends_the_sweep_with_one_line(slurm, plugins, tmp_path):
    (plugins / "go_on").unlink(missing_ok=True)
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=low")
    command = [sys.executable, str(SWEEP), *GRID[:-1], "intervention.layer=0", *launcher]
    pipe = subprocess.PIPE
    sweep = subprocess.Popen(command, cwd=tmp_path, env=slurm, stdout=pipe, stderr=pipe, text=True)
    try:
        wait_until(lambda: any((run / "log.txt").is_file() for run in run_folders(tmp_path)), sweep)
        subprocess.run(["scancel", "--signal=KILL", "--partition=low"], env=slurm, check=True)
        _, err = sweep.communicate(timeout=SWEEP_SECONDS)
    finally:
        sweep.kill()
        subprocess.run(["scancel", "--partition=low"], env=slurm, check=False)
    assert sweep.returncode == 1
    assert err.splitlines()[-1].startswith("error: a worker process died")
    assert "1 job did not finish (runs/patch/" in err
    assert "Traceback" not in err
