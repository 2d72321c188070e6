"""Multiruns: resume an earlier one, show its progress, sum it up, and count the jobs that are not done.

Everything is read from run folders, which works for every launcher.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ioi_lab.cli.workers import end_with_command, end_workers_with, launcher_of
from ioi_lab.errors import LabError
from ioi_lab.reports.wording import counted, listed
from ioi_lab.runs.finding import run_folders
from ioi_lab.runs.identity import is_of_other_code
from ioi_lab.runs.progress import Progress
from ioi_lab.runs.reading import finished_runs, read_run
from ioi_lab.runs.resume import (
    choosing,
    earlier_sweep,
    forget,
    is_placed,
    land_in,
    put_aside_what_is_no_folder,
    record_finished_runs,
    record_typed,
)
from ioi_lab.runs.wandb_mode import forget_server
from ioi_lab.terminal import close_bars, say


class Multirun(Callback):
    """Hydra's callback around a multirun. Hydra makes its own instance, so the state belongs to the class."""

    failed: ClassVar[int] = 0
    """Jobs that are not done at the end."""

    errors: ClassVar[int] = 0
    """Errors of jobs in this process, whose runs may be done all the same."""

    folder: ClassVar[Path | None] = None
    """The folder of the multirun, until it has ended."""

    ended_in: ClassVar[Path | None] = None
    """The folder of the multirun, once it has ended."""

    resumes: ClassVar[bool] = False
    """Whether finished jobs are skipped."""

    progress: ClassVar[Progress | None] = None
    empty: ClassVar[Sequence[str]] = ()
    """Overrides of the multirun that stand for no value at all."""

    def __init__(self) -> None:
        self._command: int | None = None
        """The process of the command; the jobs have a copy of this object, in whichever process they run."""

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Find the earlier sweep that was typed in the same way."""
        self._command = os.getpid()
        end_workers_with(config, self._command)
        if launcher_of(config) == "SlurmLauncher":
            from ioi_lab.cli.slurm import watch_without_accounting

            watch_without_accounting()
        Multirun.resumes = config.get("resume") is True
        placed = is_placed(config)
        looks_back = Multirun.resumes and not placed
        with choosing(config):
            earlier = earlier_sweep(config) if looks_back else None
            Multirun.folder = earlier or Path(config.hydra.sweep.dir)
            with contextlib.suppress(OSError):  # Hydra reports a folder that cannot be written
                record_typed(Multirun.folder, config)
        if earlier is not None:
            say(f"going on in {earlier}, where {_finished_jobs(earlier)} (resume=false starts over)")
        if not placed:
            land_in(Multirun.folder, config)
        with contextlib.suppress(OSError):
            for path in put_aside_what_is_no_folder(Multirun.folder):
                say(f"{path}: moved aside; it was in the place of a job's folder, and is none")
            forget_server(Multirun.folder)
            if looks_back:
                record_finished_runs(Multirun.folder)
        counts = _numbers_of_values(config)
        Multirun.empty = [typed for typed, count in counts.items() if count == 0]
        sweeper = config.hydra.sweeper
        jobs = int(sweeper.n_trials) if "n_trials" in sweeper else math.prod(counts.values())
        Multirun.progress = Progress(Multirun.folder, jobs)

    def on_job_start(self, config: DictConfig, **_: object) -> None:
        """Make a job in another process on this machine end with the command, and one on Slurm survive preemption."""
        if self._command is None:  # a single run
            return
        end_with_command(config, self._command)
        if launcher_of(config) == "SlurmLauncher":
            from ioi_lab.cli.slurm import requeue_once

            requeue_once()

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        """Read the status of every job in the sweep's folder."""
        jobs = [Path(path) for path, below, _ in os.walk(config.hydra.sweep.dir) if ".hydra" in below]
        Multirun.failed = sum(_has_failed(job, config.get("optimize")) for job in jobs)
        Multirun.sum_up()
        Multirun.folder, Multirun.ended_in = None, Multirun.folder

    @classmethod
    def sum_up(cls) -> None:
        """Write and print the summary of the jobs; nothing if none has begun."""
        cls.close_progress()
        if cls.folder is not None and any(run_folders(cls.folder)):
            from ioi_lab.runs.summary import sum_up  # imports matplotlib, for which no mistake should wait

            sum_up(cls.folder)

    @classmethod
    def print_end(cls, reason: str) -> None:
        """Print why the program ends, and which command resumes a multirun that has begun and not ended.

        One that has not begun leaves no folder.
        """
        cls.close_progress()
        if cls.folder is not None and not cls._has_begun():
            forget(cls.folder)
        if cls._has_begun():
            command = "the same command" if cls.resumes else "the same command with resume=true"
            reason = f"{reason}; {command} goes on in {cls.folder}"
        say(reason, file=sys.stderr)

    @classmethod
    def print_how_to_resume(cls) -> None:
        """Print which command resumes a multirun that has begun and ends with an error."""
        if cls._has_begun():
            cls.print_end("stopped")
        elif cls.folder is not None:  # as after a mistake in the config
            forget(cls.folder)

    @classmethod
    def unfinished(cls) -> str:
        """Return the jobs that have begun and not ended, in words."""
        running = [] if cls.folder is None else [run for run in run_folders(cls.folder) if _is_running(run)]
        names = sorted(os.path.relpath(run) for run in running)
        return f"{counted(len(names), 'job')} did not finish ({listed(names, 4)})" if names else "no job had begun"

    @classmethod
    def _has_begun(cls) -> bool:
        return cls.folder is not None and any(run_folders(cls.folder))

    @classmethod
    def empty_grid(cls) -> LabError:
        """Return the error for a grid without jobs."""
        return LabError(f"{cls.empty[0]}: stands for no value, so there is nothing to run")

    @classmethod
    def close_progress(cls) -> None:
        """Close the progress bars, those of a job that was interrupted too, before anything else is printed."""
        close_bars()
        if cls.progress is not None:
            cls.progress.close()

    @classmethod
    def reset(cls) -> None:
        """Forget the multirun of an earlier command in the same process."""
        cls.failed, cls.errors, cls.folder, cls.resumes, cls.progress, cls.empty = 0, 0, None, False, None, ()
        cls.ended_in = None


def _has_failed(job: Path, optimize: str | None) -> bool:
    """Whether the job is not done, or lacks the metric that a search asks for."""
    record = read_run(job)
    return not record.is_done or (optimize is not None and optimize not in record.metrics)


def _is_running(run: Path) -> bool:
    return read_run(run).state in ("running", "stopped")


def _finished_jobs(sweep: Path) -> str:
    """Return how many jobs of an earlier sweep are done, and how many of them with other code."""
    done = list(finished_runs(run_folders(sweep)))
    other = sum(map(is_of_other_code, done))
    verb = "is" if len(done) == 1 else "are"
    again = f", {other} of them with other code, which are run again" if other else ""
    return f"{counted(len(done), 'job')} {verb} done{again}"


def _numbers_of_values(config: DictConfig) -> dict[str, int]:
    """Return the number of values of each swept override."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    overrides = parser.parse_overrides(list(config.hydra.overrides.task))
    return {
        str(override.input_line): len(list(override.sweep_iterator()))
        for override in overrides
        if override.is_discrete_sweep()
    }
