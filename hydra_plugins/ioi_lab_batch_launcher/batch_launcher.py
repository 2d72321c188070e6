"""`hydra/launcher=batch`: the jobs of a multirun in one process, with shared passes.

Jobs are processed in waves. The jobs of a wave that share a model and a task are measured together; then each job runs
as with Hydra's basic launcher, in its own folder and with its callbacks, and gets its measurement as an argument.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from hydra_plugins.ioi_lab_batch_launcher._core import JobConfigs, done_already, run_job
from hydra_plugins.ioi_lab_batch_launcher._records import JobLog, JobRecords

log = logging.getLogger(__name__)


class BatchLauncher(Launcher):
    """A Hydra launcher that runs all jobs in one process, with shared passes.

    Args:
        wave: The number of jobs that are measured together; all their measurements are in memory at once.

    """

    def __init__(self, wave: int) -> None:
        self._wave = wave
        self._config: DictConfig
        self._configs: JobConfigs
        self._context: HydraContext
        self._task_function: TaskFunction

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Prepare a sweep, for Hydra; raises a `HydraException` if `wave` is not a positive whole number."""
        if not isinstance(self._wave, int) or self._wave < 1:
            raise HydraException(f"hydra.launcher.wave: got {self._wave!r}, expected a whole number, 1 or more")
        self._config, self._context, self._task_function = config, hydra_context, task_function
        self._configs = JobConfigs(hydra_context.config_loader)
        hydra_context.config_loader = cast(ConfigLoader, self._configs)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs with these overrides, which are numbered from `initial_job_idx`."""
        from ioi_lab.jobs.batch import measure_batch
        from ioi_lab.storage.files import sync_file_system

        if self._config.hydra.job.chdir:
            raise HydraException("hydra.job.chdir: got True, expected False: the jobs of one process share its folder")
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        log.info("Launching %d jobs, at most %d of them measured together", len(job_overrides), self._wave)
        self._configs.share(job_overrides)
        returns: list[JobReturn] = []
        records = JobRecords()
        for start in range(0, len(job_overrides), self._wave):
            wave = job_overrides[start : start + self._wave]
            configs = (self._job_config(overrides, initial_job_idx + start + i) for i, overrides in enumerate(wave))
            measured, job_log = measure_batch(configs), JobLog()
            for place, (overrides, job) in enumerate(zip(wave, measured, strict=True), start):
                if job is None:
                    returns.append(done_already(overrides, self._config.hydra.job.name))
                else:
                    self._configs.enter(job.config, overrides)
                    self._number(job.config, initial_job_idx + place)
                    returns.append(run_job(self._context, self._task_function, job, job_log, records))
            configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
            sync_file_system(Path(str(self._config.hydra.sweep.dir)))
        return returns

    def _job_config(self, overrides: Sequence[str], number: int) -> DictConfig:
        config = self._configs.job_config(self._config, list(overrides))
        self._number(config, number)
        self._log_to_files(config)
        return config

    @staticmethod
    def _number(config: DictConfig, number: int) -> None:
        job = config.hydra.job
        with read_write(job), open_dict(job):
            job.id = number
            job.num = number

    @staticmethod
    def _log_to_files(config: DictConfig) -> None:
        # There may be thousands of jobs: the messages of each are only in the log of its folder.
        root = config.hydra.job_logging.get("root")
        if root and list(root.handlers or ()) != ["file"]:
            with read_write(root), open_dict(root):
                root.handlers = ["file"]
