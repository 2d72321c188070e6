"""`hydra/launcher=batch`: the jobs of a multirun in one process, with shared passes.

Jobs are processed in waves. The jobs of a wave that share a model and a task are measured together; then each job runs
as with Hydra's basic launcher, in its own folder and with its callbacks, and gets its measurement as an argument.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn, JobStatus, configure_log, env_override, setup_globals
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

if TYPE_CHECKING:
    from ioi_lab.jobs.job import PreparedJob

log = logging.getLogger(__name__)


class BatchLauncher(Launcher):
    """A Hydra launcher that runs all jobs in one process, with shared passes.

    Args:
        wave: The number of jobs that are measured together; all their measurements are in memory at once.

    """

    def __init__(self, wave: int) -> None:
        self._wave = wave
        self._config: DictConfig
        self._context: HydraContext
        self._task_function: TaskFunction

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Prepare a sweep, for Hydra; raises a `HydraException` if `wave` is not a positive whole number."""
        if not isinstance(self._wave, int) or self._wave < 1:
            raise HydraException(f"hydra.launcher.wave: got {self._wave!r}, expected a whole number, 1 or more")
        self._config, self._context, self._task_function = config, hydra_context, task_function
        hydra_context.config_loader = cast(ConfigLoader, JobConfigs(hydra_context.config_loader))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs with these overrides, which are numbered from `initial_job_idx`."""
        from ioi_lab.jobs.batch import measure_batch

        if self._config.hydra.job.chdir:
            raise HydraException("hydra.job.chdir: got True, expected False: the jobs of one process share its folder")
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        Path(str(self._config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        log.info("Launching %d jobs, at most %d of them measured together", len(job_overrides), self._wave)
        returns: list[JobReturn] = []
        for start in range(0, len(job_overrides), self._wave):
            wave = job_overrides[start : start + self._wave]
            configs = [self._job_config(overrides, initial_job_idx + start + i) for i, overrides in enumerate(wave)]
            measured = measure_batch(configs)
            returns += [self._run(config, job) for config, job in zip(configs, measured, strict=True)]
            configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        return returns

    def _job_config(self, overrides: Sequence[str], number: int) -> DictConfig:
        config = self._context.config_loader.load_sweep_config(self._config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = number
            config.hydra.job.num = number
            # There may be thousands of jobs: the messages of each are only in the log of its folder.
            if config.hydra.job_logging.get("root"):
                config.hydra.job_logging.root.handlers = ["file"]
        return config

    def _run(self, config: DictConfig, prepared: PreparedJob | None) -> JobReturn:
        """Do the same as `hydra.core.utils.run_job`, without copying the config, which belongs to this job alone.

        Hydra's function copies the config four times, which takes longer than a small job. The returned object does not
        have the config: no sweeper reads it, and those of thousands of jobs are many megabytes. A `prepared` job is
        passed on to the task function.
        """
        folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
        with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = str(folder.absolute())
        task_function = (
            self._task_function if prepared is None else partial(cast(Any, self._task_function), prepared=prepared)
        )
        before = HydraConfig.instance().cfg
        HydraConfig.instance().cfg = cast(Any, _hydra_node(config))
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        result = JobReturn(
            overrides=list(config.hydra.overrides.task),
            working_dir=str(Path.cwd()),
            task_name=config.hydra.job.name,
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            configure_log(config.hydra.job_logging, config.hydra.verbose)
            if config.hydra.output_subdir is not None:
                _save(folder / config.hydra.output_subdir, own, HydraConfig.instance().cfg, config)
            with env_override(config.hydra.job.env_set):
                self._context.callbacks.on_job_start(config=config, task_function=self._task_function)
                try:
                    result.return_value = task_function(own)
                    result.status = JobStatus.COMPLETED
                except Exception as error:
                    result.return_value = error
                    result.status = JobStatus.FAILED
            for handler in logging.getLogger().handlers:
                handler.flush()
            self._context.callbacks.on_job_end(config=config, job_return=result)
        finally:
            HydraConfig.instance().cfg = before
        return result


def _hydra_node(config: DictConfig) -> DictConfig:
    """Return what `HydraConfig.set_config` stores, without a copy: Hydra's node, with the whole config as parent."""
    OmegaConf.set_readonly(config.hydra, True)
    node = OmegaConf.create({}, flags={"no_deepcopy_set_nodes": True})
    node.hydra = config.hydra
    node.hydra._set_parent(config)
    return node


def _save(folder: Path, own: DictConfig, hydra: Any, config: DictConfig) -> None:
    """Write Hydra's own record of a job (`.hydra/`)."""
    from ioi_lab.storage.files import yaml_text

    folder.mkdir(exist_ok=True)
    for name, part in (("config", own), ("hydra", hydra), ("overrides", config.hydra.overrides.task)):
        plain = OmegaConf.to_container(part, resolve=False, enum_to_str=True)
        (folder / f"{name}.yaml").write_text(yaml_text(plain))


class JobConfigs:
    """A config loader that composes the config groups of a sweep's jobs once, and sets each job's values in a copy.

    The configs equal those of Hydra's own loader, in a tenth of the time.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._composed: dict[tuple[str, ...], bytes] = {}
        self._parsed: dict[str, Override] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the config of the job with these overrides."""
        overrides = [self._parse(line) for line in sweep_overrides]
        values = [override for override in overrides if self._sets_a_value(override)]
        groups = tuple(str(override.input_line) for override in overrides if override not in values)
        if groups not in self._composed:
            composed = self._loader.load_sweep_config(master_config, list(groups))
            self._composed[groups] = pickle.dumps(composed)  # unpickling takes a fifth of the time of a deepcopy
        config: DictConfig = pickle.loads(self._composed[groups])
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        own = [override for override in overrides if not override.is_hydra_override()]
        config.hydra.overrides.task = [override.input_line for override in own]
        form = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            overrides=own, kv_sep=form.kv_sep, item_sep=form.item_sep, exclude_keys=form.exclude_keys
        )
        OmegaConf.copy_cache(from_config=master_config, to_config=config)  # such as the time in the folder's name
        return config

    def _parse(self, line: str) -> Override:
        if line not in self._parsed:  # jobs share most of their overrides
            self._parsed[line] = OverridesParser.create().parse_override(line)
        return self._parsed[line]

    def _sets_a_value(self, override: Override) -> bool:
        """Return whether an override changes one value, and not the choice of a config group."""
        key = override.key_or_group
        is_plain = override.type == OverrideType.CHANGE and override.package is None
        return is_plain and not override.is_hydra_override() and not self._loader.repository.group_exists(key)
