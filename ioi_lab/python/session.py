"""Jobs and sweeps run by Hydra inside a Python program, as the command line runs them, and nothing of Hydra is left."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from omegaconf import DictConfig
from omegaconf.basecontainer import BaseContainer

from ioi_lab.cli.command import run_hydra_job
from ioi_lab.cli.messages import USER_ERRORS, line_of
from ioi_lab.cli.multirun import Multirun
from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.errors import LabError
from ioi_lab.runs.folder import discard_unless_begun

if TYPE_CHECKING:
    from ioi_lab.jobs.job import PreparedJob
    from ioi_lab.models.loading import ModelConfig

Prepare = Callable[[DictConfig, Mapping[str, "ModelConfig"]], "PreparedJob"]

_QUIET: Final = tuple(f"++hydra.{log}.handlers.console.level=WARNING" for log in ("job_logging", "hydra_logging"))
"""What a run prints is in its summary, which is shown with its result; warnings are printed."""

_STATE: Final = (GlobalHydra, HydraConfig, JobRuntime, VersionBase)
"""The singletons that hold what Hydra is doing."""

_LAUNCHER: Final = "hydra/launcher=batch"
"""How a sweep is run unless the call says otherwise: in this process, with shared passes."""


def run_job_in_process(prepare: Prepare, root: str, overrides: Sequence[str], given: Mapping[str, ModelConfig]) -> Path:
    """Run one job into a new run folder, and return that.

    Raises a `LabError` with the line of the command line for a user's mistake; then no folder is left, unless the run
    had begun. Other errors, and `KeyboardInterrupt`, are raised as they are; the folder says `failed`.
    """
    folders: list[Path] = []
    failures: list[Exception] = []

    def work(config: DictConfig) -> None:
        from ioi_lab.jobs.job import run_job

        folders.append(Path(HydraConfig.get().runtime.output_dir))
        try:
            run_job(prepare(config, given), folders[0])
        except Exception as error:  # Hydra would print something of its own
            if isinstance(error, USER_ERRORS):
                discard_unless_begun(folders[0])
            failures.append(error)

    with _mistakes_as_lines(root, overrides), _hydra(root) as hydra:
        hydra.run(config_name=root, task_function=work, overrides=[*_QUIET, *overrides])
        if failures:
            raise failures[0]
    return Path(os.path.relpath(folders[0]))


def run_sweep_in_process(
    prepare: Prepare, root: str, overrides: Sequence[str], given: Mapping[str, ModelConfig]
) -> Path:
    """Run a sweep, or go on with it, and return its folder.

    A job that fails is printed and does not stop the others. Raises a `LabError` if none can be run.
    """

    def work(config: DictConfig, prepared: PreparedJob | None = None) -> float | None:
        return run_hydra_job(prepared or prepare(config, given), config.get("optimize"))

    has_launcher = any(override.startswith("hydra/launcher=") for override in overrides)
    typed = [*_QUIET, "hydra.mode=MULTIRUN", *(() if has_launcher else (_LAUNCHER,)), *overrides]
    Multirun.reset()
    try:
        with _mistakes_as_lines(root, overrides), _hydra(root) as hydra:
            try:
                hydra.multirun(config_name=root, task_function=work, overrides=typed)
            except USER_ERRORS as error:
                if Multirun.empty:  # some launchers fail without jobs
                    raise Multirun.empty_grid() from error
                Multirun.sum_up()
                Multirun.print_how_to_resume()
                raise
            except KeyboardInterrupt:
                Multirun.print_end("interrupted")
                raise
            if Multirun.empty:
                raise Multirun.empty_grid()
    finally:
        Multirun.close_progress()
    assert Multirun.ended_in is not None
    return Path(os.path.relpath(Multirun.ended_in))


def composed(root: str, overrides: Sequence[str]) -> DictConfig:
    """Return the composed config of a job; raises a `LabError` with the line of the command line for a mistake."""
    with _mistakes_as_lines(root, overrides), _hydra(root):
        return compose(root, list(overrides))


@contextmanager
def _mistakes_as_lines(root: str, overrides: Sequence[str]) -> Iterator[None]:
    """Raise each of `USER_ERRORS` as a `LabError` with the line that the command line prints."""
    try:
        yield
    except USER_ERRORS as error:
        if os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0"):
            raise
        with _hydra_restored():  # the line is found by composing configs
            line = line_of(error, overrides, root)
        line = line.replace("add -m for", "use lab.sweep for").replace("write -m ", "use lab.sweep with ")
        raise LabError(line) from None


@contextmanager
def _hydra(root: str) -> Iterator[Any]:
    """Set up Hydra as `hydra.main` does for the root config, with whatever the program itself does with it restored."""
    with _hydra_restored(), _logging_restored(), initialize_config_dir(str(CONFIG_FOLDER), root, version_base="1.3"):
        yield GlobalHydra.instance().hydra


@contextmanager
def _hydra_restored() -> Iterator[None]:
    """Restore what the program itself does with Hydra; what Hydra has found, such as its plugins, stays."""
    instances, resolvers = Singleton._instances, dict(BaseContainer._resolvers)
    Singleton._instances = {kind: instance for kind, instance in instances.items() if kind not in _STATE}
    try:
        yield
    finally:
        found = {kind: instance for kind, instance in Singleton._instances.items() if kind not in _STATE}
        Singleton._instances = instances
        instances.update(found)
        BaseContainer._resolvers.clear()
        BaseContainer._resolvers.update(resolvers)


@contextmanager
def _logging_restored() -> Iterator[None]:
    """Restore the root logger, which Hydra configures, and close the log files that have been opened for it."""
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    try:
        yield
    finally:
        for handler in logger.handlers:
            if handler not in handlers and getattr(handler, "stream", None) not in (sys.stdout, sys.stderr):
                handler.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)
