"""Logging of finished runs to Weights & Biases. The run folder is written first, so a W&B failure loses no result."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from typing_extensions import override

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError, folded

if TYPE_CHECKING:
    import pandas as pd
    import wandb

log = logging.getLogger(__name__)


class TrackerConfig(LabConfig):
    """An option of `conf/tracker/`: the run folder only (`none`), or Weights & Biases in addition (`wandb`)."""

    name: Literal["none", "wandb"] = "none"
    mode: Literal["auto", "online", "offline"] = "auto"
    """`auto`: online if a key or a login is present, else offline."""

    runs: Literal["job", "sweep"] = "job"
    """The W&B runs of a multirun: one per job and a summary (`job`), or the summary alone (`sweep`)."""

    project: str = "ioi-lab"
    entity: str | None = None

    @override
    def check(self) -> None:
        # Before the work, not after it: online, W&B cannot be reached without a key.
        if self.name == "wandb" and self.mode == "online" and not _logged_in():
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
    group: str | None
    """The name of the sweep that the run belongs to, if any."""

    tags: tuple[str, ...]
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    table: pd.DataFrame
    media: Mapping[str, Path]
    """Figures (`.png`), pages (`.html`) and tensors (`.safetensors`) by name."""

    id: str | None = None
    """The W&B id; a second run with the same id replaces the first. None: a new id."""


def name_of_sweep(folder: Path) -> str:
    """Return the name of the sweep in a folder, which is the W&B group of its runs."""
    return f"{folder.parent.name} {folder.name}"


def track(run: FinishedRun, tracker: TrackerConfig) -> dict[str, str] | None:
    """Log config, metrics (as summary), figures, pages, tensors (as artifacts) and the table to W&B.

    Returns the mode and the place of the W&B run; None if nothing was logged. A failure is logged in one line and not
    raised.
    """
    if tracker.name == "none":
        return None
    os.environ.setdefault("WANDB_SILENT", "true")  # the lab prints one line of its own instead
    try:
        mode, reason = _mode(tracker.mode)
        if mode == "disabled":
            log.info("W&B: %s (%s).", mode, reason)
            return None
        place = _log_to_wandb(run, tracker, mode)
        hint = f"See it: wandb leet run {place}   Upload it: wandb sync {place}" if mode == "offline" else place
        log.info("W&B: %s (%s). %s", mode, reason, hint)
        return {"mode": mode, "run": place}
    except Exception as error:  # whatever W&B raises, the run folder is complete
        log.warning("W&B failed, the results are safe in the run folder: %s: %s", type(error).__name__, folded(error))
        return None


def _log_to_wandb(finished: FinishedRun, tracker: TrackerConfig, mode: Literal["online", "offline"]) -> str:
    """Log the run and return its address, or its folder if it is offline."""
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
        config=dict(finished.config),
        mode=mode,
        reinit="finish_previous",
        settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
    )
    try:
        run.summary.update(dict(finished.metrics))
        run.log(_wandb_media(finished.media) | {"results": _wandb_table(finished.table)})
        for name, path in finished.media.items():
            if path.suffix == ".safetensors":
                artifact = wandb.Artifact(f"{name}-{run.id}", type="tensors")
                artifact.add_file(str(path))
                run.log_artifact(artifact)
    finally:
        run.finish()
    return str(run.url) if mode == "online" else os.path.relpath(os.path.dirname(run.dir))


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


def _mode(wanted: Literal["auto", "online", "offline"]) -> tuple[Literal["online", "offline", "disabled"], str]:
    """Return the W&B mode and the reason for it.

    With `auto`, this is the mode in `WANDB_MODE`; without that, online if a key or a login is present.
    """
    if wanted != "auto":
        return wanted, f"tracker.mode={wanted}"
    environment = os.environ.get("WANDB_MODE", "")
    if environment in ("offline", "dryrun"):
        return "offline", f"WANDB_MODE={environment}"
    if environment == "disabled":
        return "disabled", "WANDB_MODE=disabled"
    return ("online", "logged in") if _logged_in() else ("offline", "no key or login found")


def _logged_in() -> bool:
    """Return whether W&B has a key, a token or a login; never prompts for one."""
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    try:
        return wandb.login(prompt=False, verify=False)
    except (wandb.errors.Error, ValueError):  # a malformed key or setting
        return False
