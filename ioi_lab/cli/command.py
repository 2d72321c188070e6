"""The entry points' command line: Hydra commands whose errors are one readable line."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override
from hydra.types import RunMode

from ioi_lab.cli.as_typed import as_typed
from ioi_lab.cli.messages import (
    USER_ERRORS,
    check_flag,
    check_override,
    line_of,
    one_line,
    what_instead,
)
from ioi_lab.cli.multirun import Multirun
from ioi_lab.cli.signals import check_not_interrupted, interruptible
from ioi_lab.cli.stored import check_stored_config
from ioi_lab.cli.workers import LOST_WORKER, has_lost_a_worker
from ioi_lab.errors import LabError, did_you_mean, explained
from ioi_lab.plugins import find_in_current_folder
from ioi_lab.runs.folder import TRACEBACK, discard_unless_begun
from ioi_lab.runs.reading import is_done
from ioi_lab.runs.table import is_bound
from ioi_lab.terminal import print_early_logs_as_text, say

if TYPE_CHECKING:
    from ioi_lab.jobs.job import PreparedJob

FLAGS_WITH_VALUE: Final = tuple("--config-dir -cd --config-name -cn --package -p --cfg -c --info -i".split())
FLAGS: Final = tuple("--multirun -m --run -r --help -h --hydra-help --version --resolve --shell-completion -sc".split())
"""Hydra's own flags, as `--hydra-help` lists them, but for two."""

WITHOUT_FLAG: Final = dict.fromkeys(
    ("--config-path", "-cp", "--experimental-rerun"),  # replaces all configs of the lab; runs the code in a pickle
    "not a flag of this command; a stored config is run again with --config-dir FOLDER --config-name config",
)
"""Flags of Hydra that the lab does not take, and what to type instead."""

_show_traceback = False


def run_command(entry_point: Callable[[], Any], config_name: str) -> None:
    """Run the `hydra.main` function of the root config `config_name`.

    A user's mistake ends with one line and exit code 1; `HYDRA_FULL_ERROR=1` brings the traceback back. Ctrl-C,
    SIGTERM and SIGHUP end with one line and code 128 + signal. A multirun in which jobs failed ends with code 1 after
    all jobs have run.
    """
    with interruptible(Multirun.print_end):
        _run_command(entry_point, config_name)


def _run_command(entry_point: Callable[[], Any], config_name: str) -> None:
    global _show_traceback
    logging.raiseExceptions = False  # `| head` closes the pipe that the log writes to, which is not an error of the run
    _show_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    print_early_logs_as_text()
    Multirun.reset()
    try:
        find_in_current_folder()
        sys.argv[1:] = _flags_first(sys.argv[1:])
        with env_override({"HYDRA_FULL_ERROR": "1"}):  # Hydra prints no pages of its own: the error comes here
            entry_point()
    except USER_ERRORS as error:
        _end(error, line_of(error, sys.argv[1:], config_name))
    except Exception as error:
        if has_lost_a_worker(error):
            _end(error, f"{LOST_WORKER}: {Multirun.unfinished()}")
        if not _raised_by_hydra(error) and not isinstance(explained(error), LabError):
            raise
        _end(explained(error))
    finally:
        Multirun.close_progress()
    if Multirun.empty:
        _end(Multirun.empty_grid())
    if Multirun.failed or Multirun.errors:
        sys.exit(1)


def run_hydra_job(prepared: PreparedJob, optimize: str | None = None) -> float | None:
    """Run a job into Hydra's output folder.

    A user's mistake ends a single run. In a multirun any error is printed with the job's number and overrides, the
    job's folder says `failed`, and the other jobs go on; a bug leaves its traceback there.

    Returns:
        The metric `optimize`, by which some sweepers choose the next jobs; None for a job that has failed.

    """
    from ioi_lab.jobs.job import run_job

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    is_multirun = hydra.mode == RunMode.MULTIRUN
    try:
        metrics = run_job(prepared, folder, Path(hydra.runtime.cwd) / hydra.sweep.dir if is_multirun else None)
        return None if optimize is None else _metric(metrics, optimize)
    except KeyboardInterrupt as interruption:
        if not is_multirun:
            interruption.add_note(f"{os.path.relpath(folder)} is {'done' if is_done(folder) else 'not done'}")
        raise
    except Exception as error:
        check_not_interrupted(error)
        is_mistake = isinstance(error, USER_ERRORS)
        if is_mistake and not is_multirun:
            discard_unless_begun(folder)
            _end(error)  # before Hydra prints something of its own
        if not is_multirun or _show_traceback:
            raise
        line = ("" if is_mistake else f"{type(error).__name__}: ") + one_line(error, sys.argv[1:])
        Multirun.errors += 1
        say(f"error: job {hydra.job.num} ({hydra.job.override_dirname}): {line}", file=sys.stderr)
        if not is_mistake:
            with contextlib.suppress(OSError):
                (folder / TRACEBACK).write_text(traceback.format_exc())
        return None


def _metric(metrics: Mapping[str, float], name: str) -> float:
    if name not in metrics:
        choices = ", ".join(key for key in metrics if not is_bound(key, list(metrics)))
        raise LabError(f"optimize: the run has no {name!r}{did_you_mean(name, metrics)}; it has {choices}")
    return metrics[name]


def _end(error: Exception, line: str | None = None) -> NoReturn:
    """End the program with the error in one line, or as it is if the user wants tracebacks.

    A multirun that ends like this is summed up with the jobs that it has run.
    """
    check_not_interrupted(error)
    if Multirun.empty:  # some launchers fail without jobs
        error, line = Multirun.empty_grid(), None
    Multirun.sum_up()
    Multirun.print_how_to_resume()
    if _show_traceback:
        raise error
    if line is None:
        line = one_line(error, sys.argv[1:])
        line += what_instead(line, sys.argv[1:])
    say(f"error: {line}", file=sys.stderr)
    sys.exit(1)


def _flags_first(arguments: list[str]) -> list[str]:
    """Return flags before overrides, in any order they were typed: Hydra's parser takes no flag after an override.

    Raises a `LabError` for a flag that Hydra does not have, for a list of options of a config group, and for a stored
    config that may not be used.
    """
    flags, overrides = [], []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            check_override(argument)
            overrides.append(as_typed(argument))
            continue
        if (flag := argument.split("=")[0]) in WITHOUT_FLAG:
            raise LabError(f"{argument}: {WITHOUT_FLAG[flag]}")
        check_flag(argument, FLAGS, FLAGS_WITH_VALUE)
        flags.append(argument)
        if argument in FLAGS_WITH_VALUE:
            flags.extend(value for value in [next(rest, None)] if value is not None)
    check_stored_config(flags)
    return flags + overrides


def _raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra or a plugin of it raised this, as for `model=null`, or for a worker that has died.

    Neither the lab's own code, which jobs run in, nor its launcher, which calls Hydra in turn, counts.
    """
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    within = modules[1 + modules.index(__name__) :]
    return (
        any(module.startswith(("hydra.", "hydra_plugins.")) for module in within)
        and not any(module.startswith("ioi_lab.") for module in within)
        and not within[-1].startswith("hydra_plugins.ioi_lab")
    )
