"""Logging of finished runs to Weights & Biases. The run folder is written first, so a W&B failure loses no result."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from typing_extensions import override

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError, folded
from ioi_lab.reports.charts import Chart
from ioi_lab.runs.reading import PAGE
from ioi_lab.runs.wandb_log import define_steps, grouped_bounds, history, media_of, tables_of
from ioi_lab.runs.wandb_mode import Mode, ModeOfRun, logged_in, mode_of_run, record_unreachable, why_disabled
from ioi_lab.runs.wandb_service import with_service

if TYPE_CHECKING:
    import pandas as pd
    import wandb

log = logging.getLogger(__name__)

SECONDS_FOR_INIT: Final = 15
"""The time in which the server must accept a run."""

SECONDS_FOR_UPLOAD: Final = 300
"""The time in which a finished run must be uploaded; what is left then can be uploaded with `wandb sync`."""


class TrackerConfig(LabConfig):
    """An option of `conf/tracker/`: the run folder only (`none`), or Weights & Biases in addition (`wandb`)."""

    name: Literal["none", "wandb"] = "none"
    """The run folder alone (`none`), or Weights & Biases too (`wandb`)."""

    mode: Literal["auto", "online", "offline"] = "auto"
    """`auto`: online if a key or a login is present and the server answers, else offline."""

    runs: Literal["job", "sweep"] = "job"
    """The W&B runs of a multirun: one per job and a summary (`job`), or the summary alone (`sweep`)."""

    machine_info: bool = True
    """Whether W&B gets what identifies the machine: its name, hardware and load, packages, arguments, and paths."""

    project: str = "ioi-lab"
    """The W&B project."""

    entity: str | None = None
    """The W&B user or team; null: the default one of the login."""

    @override
    def check(self) -> None:
        # Before the work, not after it: online, W&B cannot be reached without a key.
        if self.name == "wandb" and self.mode == "online" and why_disabled() is None and not logged_in():
            raise LabError(
                "tracker.mode: got 'online', but no W&B key or login was found; run `wandb login`, "
                "or use tracker.mode=offline or tracker=none"
            )


def import_client(tracker: TrackerConfig) -> None:
    """Import W&B's client if runs will be logged to it: half a second before torch is imported, and two after it.

    While pydantic makes the client's classes, it searches all modules of the process.
    """
    if tracker.name == "wandb" and why_disabled() is None:
        import wandb

        wandb.Api  # noqa: B018  # imported at its first use, with most of these classes


@dataclass(frozen=True)
class FinishedRun:
    """A run as a dashboard shows it: its names, its sweep, and the results in its folder."""

    folder: Path
    title: str
    job_type: str
    sweep: Path | None
    """The folder of the sweep that the run belongs to, if any."""

    tags: tuple[str, ...]
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    tables: Mapping[str, pd.DataFrame]
    media: Mapping[str, Path]
    """Figures (`.png`), pages (`.html`) and tensors (`.safetensors`) by name."""

    charts: Sequence[Chart] = ()
    headline: str | None = None
    """The metric that stands for the run, if any."""

    error: str | None = None
    """Why the run has failed, or `interrupted`; None for a run that is done."""

    id: str | None = None
    """The W&B id; a second run with the same id replaces the first. None: a new id."""

    @property
    def group(self) -> str | None:
        """The W&B group: the name of the sweep."""
        return None if self.sweep is None else name_of_sweep(self.sweep)


def name_of_sweep(folder: Path) -> str:
    """Return the name of the sweep in a folder."""
    return f"{folder.parent.name} {folder.name}"


def track(run: FinishedRun, tracker: TrackerConfig) -> dict[str, str] | None:
    """Log config, metrics (as summary), curves (as history), figures, pages, tables and tensors (as artifacts) to W&B.

    If the server cannot be used, this run and the later ones of its sweep are logged offline. Returns the mode and the
    place of the W&B run; None if nothing was logged. A failure is logged in one line and not raised.
    """
    if tracker.name == "none":
        return None
    os.environ.setdefault("WANDB_SILENT", "true")  # the lab prints one line of its own instead
    try:
        wanted = mode_of_run(tracker.mode, run.sweep)
        if wanted.mode == "disabled":
            log.info("W&B: disabled (%s).", wanted.reason)
            return None
        used, place = _log(run, tracker, wanted)
    except Exception as error:  # whatever W&B raises, the run folder is complete
        log.warning("W&B failed, the results are safe in the run folder: %s: %s", type(error).__name__, folded(error))
        return None
    hint = f"See it: wandb leet run {place}   Upload it: wandb sync {place}" if used.mode == "offline" else place
    log.info("W&B: %s (%s). %s", used.mode, used.reason, hint)
    return {"mode": used.mode, "run": place}


def _log(run: FinishedRun, tracker: TrackerConfig, wanted: ModeOfRun) -> tuple[ModeOfRun, str]:
    """Log the run, offline if the server fails; returns the mode that was used, and the run's address or folder."""
    import wandb

    try:
        place, is_uploaded = with_service(lambda: _log_to_wandb(run, tracker, wanted.mode), run.folder)
        if is_uploaded or wanted.mode == "offline":
            return wanted, place
        used = ModeOfRun("offline", f"not all of it was uploaded in {SECONDS_FOR_UPLOAD} s")
    except wandb.errors.CommError as error:
        if wanted.mode == "offline":
            raise
        used = ModeOfRun("offline", folded(error))
        place, _ = with_service(lambda: _log_to_wandb(run, tracker, "offline"), run.folder)
    record_unreachable(run.sweep, used.reason)
    return used, place


def _log_to_wandb(finished: FinishedRun, tracker: TrackerConfig, mode: Mode) -> tuple[str, bool]:
    """Log the run; returns its address, or its folder if it is not on the server, and whether it is."""
    import wandb

    own_id = None if "WANDB_SWEEP_ID" in os.environ else finished.id  # W&B gives the runs of its agents their ids
    run = wandb.init(
        project=tracker.project,
        entity=tracker.entity,
        dir=finished.folder,
        id=own_id,
        resume=None if own_id is None else "allow",
        name=finished.title,
        group=finished.group,
        job_type=finished.job_type,
        tags=finished.tags,
        config=dict(finished.config) if tracker.machine_info else without_folders(dict(finished.config)),
        mode=mode,
        reinit="finish_previous",
        settings=_settings(tracker.machine_info),
    )
    tables, media = finished.tables, finished.media
    if not tracker.machine_info:  # the page names packages, platform, arguments and paths
        tables = {name: table.map(without_folders) for name, table in tables.items()}
        media = {name: path for name, path in media.items() if path.name != PAGE}
    try:
        define_steps(run, finished.charts)
        for row in history(finished.charts, tables):
            run.log(row)
        logged = media_of(media) | tables_of(tables, finished.charts)
        if logged:
            run.log(logged)
        run.summary.update(_summary(finished))
        for name, path in finished.media.items():
            if path.suffix == ".safetensors":
                artifact = wandb.Artifact(f"{name}-{run.id}", type="tensors")
                artifact.add_file(str(path))
                run.log_artifact(artifact)
    finally:
        is_uploaded = _is_finished(run, exit_code=0 if finished.error is None else 1) and mode == "online"
    return str(run.url) if is_uploaded else os.path.relpath(os.path.dirname(run.dir)), is_uploaded


def _summary(finished: FinishedRun) -> dict[str, Any]:
    summary: dict[str, Any] = grouped_bounds(finished.metrics)
    if finished.headline is not None and finished.headline in finished.metrics:
        summary["headline"] = finished.metrics[finished.headline]
    return summary if finished.error is None else summary | {"error": finished.error}


def _is_finished(run: wandb.Run, exit_code: int) -> bool:
    """Finish the run; returns False if the server has not got all of it in time."""
    try:
        run.finish(exit_code=exit_code)
    except TimeoutError:
        return False
    return True


def _settings(machine_info: bool) -> wandb.Settings:
    import wandb

    settings = wandb.Settings(
        silent=True,
        console="off",
        save_code=False,
        disable_git=True,
        init_timeout=SECONDS_FOR_INIT,
        finish_timeout=SECONDS_FOR_UPLOAD,
        finish_timeout_raises=True,
    )
    if not machine_info:
        settings.x_disable_machine_info = True
        settings.host = ""  # which the setting above leaves in the record of the run
        settings.x_save_requirements = (
            False  # the installed packages, and the folders of those that are installed from one
        )
    return settings


def without_folders(value: Any) -> Any:
    """Return a config, or a part of it, with the name alone instead of each absolute path."""
    if isinstance(value, Mapping):
        return {key: without_folders(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_folders(part) for part in value]
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value
