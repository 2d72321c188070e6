"""Sweeps that are started again: what several test files need."""

from __future__ import annotations

from pathlib import Path

from ioi_lab.models.loading import checksums_of
from tests.conftest import run_folders

SWEEP = str(Path(__file__).resolve().parents[2] / "sweep.py")
STAMPED = {Path(name) for name in ("status.json", "provenance.json", "log.txt", ".lock", "config.yaml")} | {
    Path(".hydra") / name for name in ("config.yaml", "hydra.yaml", "overrides.yaml")
}
"""Files that say where and when a run was."""

SHORT = ("-m", "tracker=none", "task.n=4", "figures=false")
GRID = (*SHORT, "intervention.layer=0,1,2")


def of_other_weights(config):
    return checksums_of(config)._replace(weights="other")


def moments(folder):
    return {run.name: (run / "status.json").stat().st_mtime_ns for run in run_folders(folder)}
