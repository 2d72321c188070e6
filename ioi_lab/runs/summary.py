"""The end of a sweep: its table and figures in its folder, in the terminal and on W&B."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import OmegaConf

from ioi_lab.errors import LabError, folded
from ioi_lab.runs.sweeps import Sweep
from ioi_lab.tracking import FinishedRun, TrackerConfig, track

log = logging.getLogger(__name__)


def sum_up(folder: Path) -> None:
    """Write the summary of a sweep that has ended and log it as a W&B run of its own, in the group of its jobs.

    Whatever goes wrong is told in a line: the jobs' own results stand.
    """
    try:
        sweep = Sweep.read(folder)
        figures = sweep.write()
    except (LabError, OSError) as error:
        log.warning("the sweep in %s was not summed up: %s", folder, folded(error))
        return
    for line in sweep.lines():
        log.info(line)
    done = sweep.runs[sweep.is_done]
    if done.empty:
        return
    config = OmegaConf.load(Path(done["path"].iloc[0]) / "config.yaml")
    name = f"{config.name} {folder.name}"
    metrics = {"n_jobs": len(sweep.runs), "n_done": len(done)}
    if sweep.shown in done and len(done):
        metrics |= {f"highest_{sweep.shown}": done[sweep.shown].max(), f"lowest_{sweep.shown}": done[sweep.shown].min()}
    summary = FinishedRun(
        folder=folder,
        key=name,  # a sweep that goes on has still one summary
        title=f"summary of {name}",
        job_type="summary",
        group=name,
        tags=("summary",),
        config={"swept": sweep.swept},
        metrics={key: float(value) for key, value in metrics.items()},
        table=sweep.table(),
        media=figures,
    )
    track(summary, TrackerConfig.from_config(dict(config.tracker), "tracker"))
