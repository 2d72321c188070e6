"""Whether W&B is used, and online or offline: the environment, a login, and a server that answers."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from filelock import FileLock, Timeout

from ioi_lab.errors import folded
from ioi_lab.storage.files import write_json

Mode = Literal["online", "offline", "disabled"]

SERVER_RECORD: Final = "wandb_server.json"
"""The file in a sweep's folder that says whether the server has answered, for all jobs on all hosts."""

SECONDS_FOR_LOGIN: Final = 10
"""The time in which the server must accept the login."""


@dataclass(frozen=True)
class ModeOfRun:
    """The W&B mode of a run, and the reason for it."""

    mode: Mode
    reason: str


def why_disabled() -> str | None:
    """Return which variable of the environment switches W&B off, or None."""
    if os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes", "on"):
        return f"WANDB_DISABLED={os.environ['WANDB_DISABLED']}"
    return "WANDB_MODE=disabled" if os.environ.get("WANDB_MODE") == "disabled" else None


def mode_of_run(wanted: Literal["auto", "online", "offline"], sweep: Path | None) -> ModeOfRun:
    """Return the W&B mode of a run.

    W&B that the environment disables stays disabled. With `auto`, the mode is the one that is set for W&B on this
    machine; without that, online if a key or a login is present. Online becomes offline if the server does not answer,
    which is found out once per sweep.

    Args:
        wanted: The mode in the config.
        sweep: The folder of the sweep that the run belongs to.

    """
    if disabled := why_disabled():
        return ModeOfRun("disabled", disabled)
    if wanted == "offline":
        return ModeOfRun("offline", "tracker.mode=offline")
    if wanted == "auto":
        if (environment := os.environ.get("WANDB_MODE", "")) in ("offline", "dryrun"):
            return ModeOfRun("offline", f"WANDB_MODE={environment}")
        if (stated := _mode_in_settings()) is not None:
            return stated
        if not logged_in():
            return ModeOfRun("offline", "no key or login found")
    unreachable = _why_unreachable(sweep)
    if unreachable is not None:
        return ModeOfRun("offline", unreachable)
    return ModeOfRun("online", "logged in" if wanted == "auto" else "tracker.mode=online")


def logged_in() -> bool:
    """Return whether W&B has a key, a token or a login; never prompts for one."""
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    try:
        return wandb.login(prompt=False, verify=False)
    except (wandb.errors.Error, ValueError):  # a malformed key or setting
        return False


def record_unreachable(sweep: Path | None, reason: str) -> None:
    """Make the later runs of a sweep offline."""
    if sweep is not None:
        write_json(sweep / SERVER_RECORD, {"unreachable": reason})


def forget_server(sweep: Path) -> None:
    """Make the next run of a sweep ask the server again."""
    (sweep / SERVER_RECORD).unlink(missing_ok=True)


def _mode_in_settings() -> ModeOfRun | None:
    """Return the mode that `wandb offline` or `wandb disabled` has set on this machine, or None."""
    import wandb

    mode = wandb.setup().settings.mode
    if mode in ("offline", "dryrun"):
        return ModeOfRun("offline", "set by `wandb offline`")
    return ModeOfRun("disabled", "set by `wandb disabled`") if mode == "disabled" else None


def _why_unreachable(sweep: Path | None) -> str | None:
    """Return why the server cannot be used, or None: asked once per sweep, while its other processes wait."""
    if sweep is None:
        return _ask_server()
    try:
        with FileLock(sweep / f".{SERVER_RECORD}.lock", timeout=3 * SECONDS_FOR_LOGIN):
            record = sweep / SERVER_RECORD
            try:
                reason: str | None = json.loads(record.read_text())["unreachable"]
            except (OSError, ValueError, KeyError, TypeError):  # not asked yet, or damaged
                reason = _ask_server()
                write_json(record, {"unreachable": reason})
            return reason
    except (Timeout, NotImplementedError):  # a file system without locks
        return _ask_server()


def _ask_server() -> str | None:
    """Return why the server does not accept the login, or None."""
    import wandb

    try:
        wandb.Api(timeout=SECONDS_FOR_LOGIN)
    except wandb.errors.Error as error:
        if "did not respond in time" in str(error):  # W&B says that of its own process
            return f"no answer from {wandb.setup().settings.base_url} in {SECONDS_FOR_LOGIN} s"
        return folded(error)
    return None
