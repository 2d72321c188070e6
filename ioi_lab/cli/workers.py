"""Worker processes of a multirun: they end with the command that started them, and a lost one is reported."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any, Final

import psutil
from omegaconf import DictConfig, OmegaConf, open_dict

LOST_WORKER: Final = "a worker process died (killed, or out of memory; fewer at a time need less)"
_LOST: Final = frozenset(
    "TerminatedWorkerError BrokenProcessPool UncompletedJobError "
    "WorkerCrashedError OutOfMemoryError LocalRayletDiedError NodeDiedError".split()
)
"""Errors of loky, submitit and Ray for a process that is gone."""

_LOOK_EVERY_S: Final = 0.5
_ENDS_WITH: Final = f"{__name__}.end_with"


def launcher_of(config: DictConfig) -> str:
    """Return the class of the launcher, such as `JoblibLauncher`."""
    return str(config.hydra.launcher.get("_target_")).rpartition(".")[2]


def end_workers_with(config: DictConfig, pid: int) -> None:
    """Make the workers of a launcher end with the process `pid`, also those that wait for their first job."""
    launcher = config.hydra.launcher
    if launcher_of(config) == "JoblibLauncher":
        OmegaConf.set_readonly(launcher, False)
        with open_dict(launcher):  # joblib passes what it does not know on to loky, its pool of processes
            launcher.initializer = {"_target_": "hydra.utils.get_method", "path": _ENDS_WITH}
            launcher.initargs = [pid]
        # A process of joblib's own cleans up after a kill, and would report that as leaks.
        _append_to_environment("PYTHONWARNINGS", "ignore:resource_tracker")
    if launcher_of(config) == "RayLauncher":
        os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")  # which prints addresses and aborts at SIGTERM


def end_with_command(config: DictConfig, pid: int) -> None:
    """Make this process end with the process `pid` if the launcher has started it on the same machine for a job."""
    launcher = launcher_of(config)
    is_local = launcher == "LocalLauncher" or (
        launcher == "RayLauncher" and OmegaConf.select(config, "hydra.launcher.ray.init.address") is None
    )
    if is_local and pid != os.getpid():
        end_with(pid)


def _append_to_environment(name: str, value: str) -> None:
    before = os.environ.get(name)
    os.environ[name] = f"{before},{value}" if before else value


def end_with(pid: int) -> None:
    """Kill this process as soon as the process `pid` has ended, however that ends: results are written atomically."""
    try:
        command = psutil.Process(pid)
    except psutil.NoSuchProcess:
        _end()
        return
    threading.Thread(target=_watch, args=(command,), daemon=True).start()


def has_lost_a_worker(error: Exception) -> bool:
    """Return whether an error says that a process of a launcher is gone."""
    return any(kind.__name__ in _LOST for kind in type(error).__mro__)


def _watch(command: Any) -> None:
    while _is_alive(command):
        time.sleep(_LOOK_EVERY_S)
    _end()


def _is_alive(command: Any) -> bool:
    try:
        return bool(command.is_running()) and command.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
