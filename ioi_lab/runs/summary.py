"""The end of a sweep: its table and figures in its folder, in the terminal and on W&B."""

from __future__ import annotations

import json
import logging
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from omegaconf import OmegaConf

from ioi_lab.errors import LabError, folded
from ioi_lab.runs.folder import done_identity
from ioi_lab.runs.sweeps import Sweep
from ioi_lab.runs.tracking import FinishedRun, TrackerConfig, name_of_sweep, track
from ioi_lab.storage.files import write_json

log = logging.getLogger(__name__)
SUMMARY: Final = "wandb.json"


def sum_up(folder: Path) -> None:
    """Write the summary of a sweep that has ended and log it as a W&B run of its own, in the group of its jobs.

    Whatever goes wrong is told in a line: the jobs' own results stand.
    """
    try:
        sweep = Sweep.read(folder)
        figures = sweep.write()
        for line in sweep.lines():
            log.info(line)
        done = sweep.runs[sweep.is_done]
        if done.empty:
            return
        _tell_of_other_code([Path(path) for path in done["path"]])
        config = OmegaConf.load(Path(done["path"].iloc[0]) / "config.yaml")
        tracker = TrackerConfig.from_config(dict(config.tracker), "tracker")
        if tracker.name != "none":
            track(_as_run(sweep, figures, _id_of_summary(folder)), tracker)
    except (LabError, OSError) as error:
        log.warning("the sweep in %s was not summed up: %s", folder, folded(error))


def _tell_of_other_code(done: Sequence[Path]) -> None:
    """Two processes at once may have done a sweep with different code, of which neither knows."""
    codes = Counter((done_identity(run) or {}).get("code") for run in done)
    if len(codes) > 1:
        few = len(done) - codes.most_common(1)[0][1]
        log.warning("%d of these runs were done with other code than the others; the same command runs them again", few)


def _as_run(sweep: Sweep, figures: Mapping[str, Path], id_of_run: str) -> FinishedRun:
    done = sweep.runs[sweep.is_done]
    name = name_of_sweep(sweep.folder)
    metrics = {"n_jobs": len(sweep.runs), "n_done": len(done)}
    if sweep.shown in done:
        metrics |= {f"highest_{sweep.shown}": done[sweep.shown].max(), f"lowest_{sweep.shown}": done[sweep.shown].min()}
    return FinishedRun(
        folder=sweep.folder,
        id=id_of_run,
        title=f"summary of {name}",
        job_type="summary",
        group=name,
        tags=("summary",),
        config={"swept": sweep.swept},
        metrics={key: float(value) for key, value in metrics.items()},
        table=sweep.table(),
        media=figures,
    )


def _id_of_summary(folder: Path) -> str:
    """W&B's of the summary: made once, since a sweep that goes on has still one summary."""
    try:
        return str(json.loads((folder / SUMMARY).read_text())["id"])
    except (OSError, ValueError, KeyError, TypeError):  # there is none yet, or a damaged one
        made = uuid.uuid4().hex[:16]
        write_json(folder / SUMMARY, {"id": made})
        return made
