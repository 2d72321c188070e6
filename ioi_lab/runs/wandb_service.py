"""The process of W&B (`wandb-core`) that runs are logged through: restarted if it is lost, and stopped in silence."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ResultT = TypeVar("ResultT")


def with_service(work: Callable[[], ResultT], folder: Path) -> ResultT:
    """Return what `work` returns; if W&B's process is lost meanwhile, do it once more with a new one.

    Args:
        work: The work, which logs a W&B run.
        folder: The folder of the run; what an attempt that failed has left in its `wandb/` is removed.

    Raises:
        Exception: Any error of the work that is not the loss of the process, or its second loss.

    """
    before = _offline_runs(folder)
    try:
        return work()
    except Exception as error:
        stop_service()
        for left in _offline_runs(folder) - before:
            shutil.rmtree(left, ignore_errors=True)
        if not _is_loss(error):
            raise
        return work()
    finally:
        # W&B stops its process at exit too, with a traceback if it is lost. What is registered last is called first.
        atexit.unregister(stop_service)
        atexit.register(stop_service)


def stop_service() -> None:
    """Stop W&B's process, whatever its state; the next run starts a new one."""
    import wandb

    with contextlib.suppress(Exception, SystemExit):  # W&B ends the program if its process ended with an error
        wandb.teardown()
    os.environ.pop("WANDB_SERVICE", None)  # the address of the process, which the next run would look for


def _offline_runs(folder: Path) -> set[Path]:
    return set((folder / "wandb").glob("*run-*"))


def _is_loss(error: Exception) -> bool:
    """Whether W&B's process does not answer: a broken connection, or an error that W&B does not show to its users."""
    return isinstance(error, ConnectionError) or type(error).__module__.startswith("wandb.sdk.")
