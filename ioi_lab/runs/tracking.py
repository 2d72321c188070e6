"""A finished run folder → Weights & Biases. The folder comes first, so a W&B failure never loses a result."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError, folded

if TYPE_CHECKING:
    import pandas as pd
    import wandb

log = logging.getLogger(__name__)


class TrackerConfig(LabConfig):
    """One option of `conf/tracker/`: the run folder only (`none`), or W&B as well."""

    name: Literal["none", "wandb"]
    mode: Literal["auto", "online", "offline"] = "auto"
    runs: Literal["job", "sweep"] = "job"
    project: str = "ioi-lab"
    entity: str | None = None

    def check(self) -> None:
        """Tell before the work, not after it, that W&B cannot be reached online without a key."""
        if self.name == "wandb" and self.mode == "online" and not _logged_in():
            raise LabError(
                "tracker.mode: got 'online', but no W&B key or login was found; run `wandb login`, "
                "or use tracker.mode=offline or tracker=none"
            )


@dataclass(frozen=True)
class FinishedRun:
    """What a run is called, the sweep that it belongs to, and what it left in its folder."""

    folder: Path
    title: str
    job_type: str
    group: str | None
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    table: pd.DataFrame
    media: Mapping[str, Path]
    """Figures (`.png`), pages (`.html`) and tensors (`.safetensors`) by name."""

    id: str | None = None
    """W&B's, so that a second run with it takes the place of the first; None: a run of its own."""


def name_of_sweep(folder: Path) -> str:
    """What the sweep in a folder is called: the group of its runs."""
    return f"{folder.parent.name} {folder.name}"


def track(run: FinishedRun, tracker: TrackerConfig) -> dict[str, str] | None:
    """Log config, metrics (as summary), figures, pages, tensors (as artifacts) and the table; returns where they are.

    A failure is told in one line.
    """
    if tracker.name == "none":
        return None
    os.environ.setdefault("WANDB_SILENT", "true")  # the lab prints one line of its own instead
    try:
        mode, reason = _mode(tracker.mode)
        if mode == "disabled":
            log.info("W&B: %s (%s).", mode, reason)
            return None
        where = _log_to_wandb(run, tracker, mode)
        see = f"See it: wandb leet run {where}   Upload it: wandb sync {where}" if mode == "offline" else where
        log.info("W&B: %s (%s). %s", mode, reason, see)
        return {"mode": mode, "run": where}
    except Exception as error:  # whatever W&B raises, the run folder is complete
        log.warning("W&B failed, the results are safe in the run folder: %s: %s", type(error).__name__, folded(error))
        return None


def _log_to_wandb(finished: FinishedRun, tracker: TrackerConfig, mode: Literal["online", "offline"]) -> str:
    """Log the run and return where it is: its address, or its folder."""
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
        run.log(_shown(finished.media) | {"results": _wandb_table(finished.table)})
        for name, path in finished.media.items():
            if path.suffix == ".safetensors":
                artifact = wandb.Artifact(f"{name}-{run.id}", type="tensors")
                artifact.add_file(str(path))
                run.log_artifact(artifact)
    finally:
        run.finish()
    return str(run.url) if mode == "online" else os.path.relpath(os.path.dirname(run.dir))


def _shown(media: Mapping[str, Path]) -> dict[str, Any]:
    """Images and pages as W&B shows them; pages as they are: W&B would link a style sheet of its own into them."""
    import wandb

    images = {name: wandb.Image(str(path)) for name, path in media.items() if path.suffix == ".png"}
    return images | {
        name: wandb.Html(str(path), inject=False) for name, path in media.items() if path.suffix == ".html"
    }


def _wandb_table(table: pd.DataFrame) -> wandb.Table:
    """The table in plain Python values, one type a column: selectors that do not apply are None, mixed ones text."""
    import wandb

    plain = table.astype(object).where(table.notna(), None)
    for name in plain:
        if any(isinstance(value, str) for value in plain[name]):
            plain[name] = [None if value is None else str(value) for value in plain[name]]
    return wandb.Table(columns=list(plain.columns), data=plain.to_numpy())


def _mode(wanted: Literal["auto", "online", "offline"]) -> tuple[Literal["online", "offline", "disabled"], str]:
    """The W&B mode and why: with `auto` what `WANDB_MODE` says, else online where a key or login is present."""
    if wanted != "auto":
        return wanted, f"tracker.mode={wanted}"
    environment = os.environ.get("WANDB_MODE", "")
    if environment in ("offline", "dryrun"):
        return "offline", f"WANDB_MODE={environment}"
    if environment == "disabled":
        return "disabled", "WANDB_MODE=disabled"
    return ("online", "logged in") if _logged_in() else ("offline", "no key or login found")


def _logged_in() -> bool:
    """Whether W&B has a key, a token or a login, without asking for one."""
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    try:
        return wandb.login(prompt=False, verify=False)
    except (wandb.errors.Error, ValueError):  # a malformed key or setting
        return False
