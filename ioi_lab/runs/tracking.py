"""Logging of finished runs to Weights & Biases. The run folder is written first, so a W&B failure loses no result."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from typing_extensions import override

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError, folded
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
    mode: Literal["auto", "online", "offline"] = "auto"
    """`auto`: online if a key or a login is present and the server answers, else offline."""

    runs: Literal["job", "sweep"] = "job"
    """The W&B runs of a multirun: one per job and a summary (`job`), or the summary alone (`sweep`)."""

    machine_info: bool = True
    """Whether W&B gets what identifies the machine: its name, hardware and load, packages, arguments, and paths."""

    project: str = "ioi-lab"
    entity: str | None = None

    @override
    def check(self) -> None:
        # Before the work, not after it: online, W&B cannot be reached without a key.
        if self.name == "wandb" and self.mode == "online" and why_disabled() is None and not logged_in():
            raise LabError(
                "tracker.mode: got 'online', but no W&B key or login was found; run `wandb login`, "
                "or use tracker.mode=offline or tracker=none"
            )


@dataclass(frozen=True)
class FinishedRun:
    """A finished run as a dashboard shows it: its names, its sweep, and the results in its folder."""

    folder: Path
    title: str
    job_type: str
    sweep: Path | None
    """The folder of the sweep that the run belongs to, if any."""

    tags: tuple[str, ...]
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    table: pd.DataFrame
    media: Mapping[str, Path]
    """Figures (`.png`), pages (`.html`) and tensors (`.safetensors`) by name."""

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
    """Log config, metrics (as summary), figures, pages, tensors (as artifacts) and the table to W&B.

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

    run = wandb.init(
        project=tracker.project,
        entity=tracker.entity,
        dir=finished.folder,
        id=finished.id,
        resume=None if finished.id is None else "allow",
        name=finished.title,
        group=finished.group,
        job_type=finished.job_type,
        tags=finished.tags,
        config=dict(finished.config) if tracker.machine_info else without_folders(dict(finished.config)),
        mode=mode,
        reinit="finish_previous",
        settings=_settings(tracker.machine_info),
    )
    table = finished.table if tracker.machine_info else finished.table.map(without_folders)
    try:
        run.summary.update(dict(finished.metrics))
        run.log(_wandb_media(finished.media) | {"results": _wandb_table(table)})
        for name, path in finished.media.items():
            if path.suffix == ".safetensors":
                artifact = wandb.Artifact(f"{name}-{run.id}", type="tensors")
                artifact.add_file(str(path))
                run.log_artifact(artifact)
    finally:
        is_uploaded = _is_finished(run) and mode == "online"
    return str(run.url) if is_uploaded else os.path.relpath(os.path.dirname(run.dir)), is_uploaded


def _is_finished(run: wandb.Run) -> bool:
    """Finish the run; returns False if the server has not got all of it in time."""
    try:
        run.finish()
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


def _wandb_media(media: Mapping[str, Path]) -> dict[str, Any]:
    """Return the figures and pages as W&B media; without `inject=False`, W&B links a style sheet into the pages."""
    import wandb

    images = {name: wandb.Image(str(path)) for name, path in media.items() if path.suffix == ".png"}
    return images | {
        name: wandb.Html(str(path), inject=False) for name, path in media.items() if path.suffix == ".html"
    }


def _wandb_table(table: pd.DataFrame) -> wandb.Table:
    """Return the table in plain Python values with one type per column: missing values are None, mixed ones text."""
    import wandb

    plain = table.astype(object).where(table.notna(), None)
    for name in plain:
        if any(isinstance(value, str) for value in plain[name]):
            plain[name] = [None if value is None else str(value) for value in plain[name]]
    return wandb.Table(columns=list(plain.columns), data=plain.to_numpy())
