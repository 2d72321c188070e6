"""The summary of a sweep that has ended: table and figures in its folder, lines in the terminal, a run on W&B."""

from __future__ import annotations

import json
import logging
import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ioi_lab.errors import LabError, folded
from ioi_lab.runs.parsing import DamagedError
from ioi_lab.runs.reading import RunRecord, read_config
from ioi_lab.runs.sweep_pages import write_sweep_page
from ioi_lab.runs.sweeps import Sweep
from ioi_lab.runs.tracking import FinishedRun, TrackerConfig, name_of_sweep, track
from ioi_lab.runs.workspace import charts_of
from ioi_lab.storage.files import write_json

log = logging.getLogger(__name__)
_SUMMARY_RECORD: Final = "wandb.json"


def sum_up(folder: Path) -> None:
    """Write the summary of a sweep that has ended and log it as a W&B run of its own, in the group of its jobs.

    An error is logged in one line and not raised: the results of the jobs are valid without the summary.
    """
    try:
        sweep = Sweep.read(folder)
        figures = sweep.write()
        page = write_sweep_page(sweep)
        for line in sweep.lines():
            log.info(line)
        done = sweep.runs[sweep.is_done]
        if done.empty:
            return
        _warn_of_other_code([record for record in sweep.records if record.is_done])
        config = read_config(Path(done["path"].iloc[0]))
        tracker = TrackerConfig.from_config(config["tracker"], "tracker")
        if tracker.name != "none":
            media = {name: files[0] for name, files in figures.items()}
            track(_as_run(sweep, {**media, page.stem: page}, _summary_id(folder)), tracker)
    except (LabError, OSError, ValueError, DamagedError) as error:
        log.warning("the sweep in %s could not be summarized: %s", folder, folded(error))


def _warn_of_other_code(done: Sequence[RunRecord]) -> None:
    """Log a warning if the runs were measured with different code, as by two processes that share a sweep."""
    codes: dict[frozenset[str], Counter[str | None]] = defaultdict(Counter)
    for record in done:
        codes[record.modules][record.identity.get("code")] += 1  # other interventions have other modules
    n_other = sum(count.total() - count.most_common(1)[0][1] for count in codes.values())
    if n_other:
        log.warning(
            "%d of these runs were done with other code than the rest; the same command runs them again", n_other
        )


def _as_run(sweep: Sweep, media: Mapping[str, Path], id_of_run: str) -> FinishedRun:
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
        sweep=sweep.folder,
        tags=("summary",),
        config={"swept": sweep.swept},
        metrics={key: float(value) for key, value in metrics.items()},
        tables={"results": sweep.table()},
        media=media,
        charts=charts_of(sweep),
    )


def _summary_id(folder: Path) -> str:
    """Return the W&B id of a sweep's summary, which is created once: a sweep that is resumed keeps its summary."""
    try:
        return str(json.loads((folder / _SUMMARY_RECORD).read_text())["id"])
    except (OSError, ValueError, KeyError, TypeError):  # no record yet, or a damaged one
        new = uuid.uuid4().hex[:16]
        write_json(folder / _SUMMARY_RECORD, {"id": new})
        return new
