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
# Large enough that the jobs are still at work when they are preempted.
GRID = ("-m", "tracker=none", "figures=false", "task.n=192", "intervention.head=all", "intervention.layer=0,1,2,3")


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find the one that was started for these tests."""
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # a socket's path must be short
    try:
        subprocess.run([*ROOT, "bash", str(START), str(folder)], check=True, timeout=120)
        yield os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    finally:
        subprocess.run([*ROOT, "bash", str(START), "stop", str(folder)], check=True, timeout=120)
        subprocess.run([*ROOT, "rm", "-r", str(folder)], check=True)


@pytest.fixture(scope="module")
def basic(tmp_path_factory) -> Path:
    """The runs of the basic launcher."""
    folder = tmp_path_factory.mktemp("basic")
    subprocess.run([sys.executable, str(SWEEP), *GRID], cwd=folder, check=True, timeout=SWEEP_SECONDS)
    return folder


def queue(environment: dict[str, str], form: str) -> list[str]:
    command = ["squeue", "--noheader", "--array", "--states=all", f"--format={form}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def wait_until(holds, process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("announced_by", [None, "TERM"], ids=["plain", "SUBMITIT_PREEMPT_SIGNAL=TERM"])
def test_preempted_jobs_are_done_in_the_end(slurm, basic, tmp_path, announced_by):
    environment = slurm if announced_by is None else slurm | {"SUBMITIT_PREEMPT_SIGNAL": announced_by}
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=low")
    command = [sys.executable, str(SWEEP), *GRID, *launcher]
    pipe = subprocess.PIPE
    sweep = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True)
    try:
        wait_until(lambda: any((run / "log.txt").is_file() for run in run_folders(tmp_path)), sweep)
        high = ["sbatch", "--partition=high", "--ntasks=2", "--output=/dev/null", "--wrap=sleep 1"]
        subprocess.run(high, env=environment, check=True, capture_output=True)
        wait_until(lambda: "COMPLETED/high" in queue(environment, "%T/%P"), sweep)
        back = [job for job in queue(environment, "%i/%P/%T") if job.endswith("/low/PENDING")]
        for job in back:  # Slurm would wait two minutes before it starts them again
            update = ["scontrol", "update", f"jobid={job.partition('/')[0]}", "starttime=now"]
            subprocess.run([*ROOT, "env", f"SLURM_CONF={environment['SLURM_CONF']}", *update], check=True)
        out, err = sweep.communicate(timeout=SWEEP_SECONDS)
    finally:
        sweep.kill()
        subprocess.run(["scancel", "--partition=low"], env=environment, check=False)
    assert sweep.returncode == 0, err
    assert "4 runs (4 done)" in out
    assert "sacct" not in out + err
    assert "failed" not in out + err
    assert restarts(environment) > 0
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


def test_a_job_that_slurm_kills_ends_the_sweep_with_one_line(slurm, tmp_path):
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
