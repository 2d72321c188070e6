"""The work of the batch launcher: the configs of its jobs, and one job after another in this process."""

from __future__ import annotations

import logging
import pickle
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn, JobStatus, configure_log, env_override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

if TYPE_CHECKING:
    from ioi_lab.jobs.job import PreparedJob


def run_job(
    context: HydraContext, task_function: TaskFunction, config: DictConfig, prepared: PreparedJob | None
) -> JobReturn:
    """Do the same as `hydra.core.utils.run_job`, without copying the config, which belongs to this job alone.

    Hydra's function copies the config four times, which takes longer than a small job. The returned object does not
    have the config: no sweeper reads it, and those of thousands of jobs are many megabytes. A `prepared` job is
    passed on to the task function.
    """
    folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(folder.absolute())
    work: Any = task_function  # the lab's own takes a prepared job as well
    if prepared is not None:
        work = partial(work, prepared=prepared)
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
            context.callbacks.on_job_start(config=config, task_function=task_function)
            try:
                result.return_value = work(own)
                result.status = JobStatus.COMPLETED
            except Exception as error:
                result.return_value = error
                result.status = JobStatus.FAILED
        for handler in logging.getLogger().handlers:
            handler.flush()
        context.callbacks.on_job_end(config=config, job_return=result)
    finally:
        HydraConfig.instance().cfg = before
    return result


def done_already(config: DictConfig) -> JobReturn:
    """Return what stands for a job that is done and leaves nothing to do: none of the work around a job is done for it.

    That work, such as setting up the log of the job, takes longer than finding out that it is done.
    """
    return JobReturn(
        overrides=list(config.hydra.overrides.task),
        working_dir=str(Path.cwd()),
        task_name=config.hydra.job.name,
        _return_value=None,
        status=JobStatus.COMPLETED,
    )


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


def _set_items(items: Any, values: Sequence[str], before: Sequence[str]) -> None:
    """Set the items of an OmegaConf list that are `before` to these values; each that is set takes long."""
    del items[len(values) :]
    for index, value in enumerate(values):
        if index >= len(before):
            items.append(value)
        elif value != before[index]:
            items[index] = value


class JobConfigs:
    """A config loader that composes the config groups of a sweep's jobs once, and sets each job's values in a copy.

    The configs of `job_config` equal those of Hydra's own loader, in a tenth of the time.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._last: DictConfig
        self._shared: frozenset[str] = frozenset()
        self._composed: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[bytes, list[str]]] = {}
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._tried: set[tuple[object, ...]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Raise the error of a config that cannot be composed, for the sweeper, which composes each before all jobs.

        Each override is tried once; the config that is returned is that of a job, not always of this one.
        """
        lines = tuple(sweep_overrides)
        choices = tuple(line for line in lines if not self._parse(line)[1])
        new = {(choices, line) for line in lines} - self._tried
        if new or not lines:
            self._last = self.job_config(master_config, sweep_overrides)
            self._tried |= new
        return self._last

    def share(self, jobs: Sequence[Sequence[str]]) -> None:
        """Apply the overrides that all these jobs have once, not in each job.

        An override of a key that a job sets twice is applied in each job, as their order counts.
        """
        shared = set(jobs[0]).intersection(*jobs[1:]) if jobs else set()
        keys = [Counter(line.partition("=")[0] for line in job) for job in jobs]
        once = {key for key in (keys[0] if keys else ()) if all(count[key] == 1 for count in keys)}
        self._shared = frozenset(line for line in shared if line.partition("=")[0] in once)

    def job_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the config of the job with these overrides."""
        parsed = [self._parse(line) for line in sweep_overrides]
        overrides = [override for override, _ in parsed]
        own = [override for override in overrides if not override.is_hydra_override()]
        lines = [str(override.input_line) for override in own]
        config, its_lines = self._composed_once(master_config, parsed, lines)
        values = [override for override, sets_a_value in parsed if sets_a_value]
        ConfigLoaderImpl._apply_overrides_to_config(
            [one for one in values if one.input_line not in self._shared], config
        )
        _set_items(config.hydra.overrides.task, lines, its_lines)
        form = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            overrides=own, kv_sep=form.kv_sep, item_sep=form.item_sep, exclude_keys=form.exclude_keys
        )
        OmegaConf.copy_cache(from_config=master_config, to_config=config)  # such as the time in the folder's name
        return config

    def _composed_once(
        self, master_config: DictConfig, parsed: Sequence[tuple[Override, bool]], lines: list[str]
    ) -> tuple[DictConfig, list[str]]:
        """Return a new config with the config groups of a job and the values that all jobs share.

        Also return its list of overrides, which is that of the first of these jobs.
        """
        groups = tuple(str(override.input_line) for override, sets_a_value in parsed if not sets_a_value)
        shared = [one for one, sets_a_value in parsed if sets_a_value and one.input_line in self._shared]
        key = groups, tuple(str(override.input_line) for override in shared)
        if key not in self._composed:
            composed = self._loader.load_sweep_config(master_config, list(groups))
            ConfigLoaderImpl._apply_overrides_to_config(shared, composed)
            composed.hydra.overrides.task = lines
            self._composed[key] = pickle.dumps(composed), lines  # unpickling takes a fifth of the time of a deepcopy
        pickled, its_lines = self._composed[key]
        config: DictConfig = pickle.loads(pickled)
        return config, its_lines

    def _parse(self, line: str) -> tuple[Override, bool]:
        """Return an override, and whether it sets a value."""
        if line not in self._parsed:  # jobs share most of their overrides
            override = OverridesParser.create().parse_override(line)
            self._parsed[line] = override, self._sets_a_value(override)
        return self._parsed[line]

    def _sets_a_value(self, override: Override) -> bool:
        """Return whether an override changes one value, and not the choice of a config group."""
        key = override.key_or_group
        is_plain = override.type == OverrideType.CHANGE and override.package is None
        return is_plain and not override.is_hydra_override() and not self._loader.repository.group_exists(key)
