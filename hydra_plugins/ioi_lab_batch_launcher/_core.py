"""The work of the batch launcher: the configs of its jobs, and one job after another in this process."""

from __future__ import annotations

import logging
import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn, JobStatus, env_override
from hydra.types import HydraContext, TaskFunction
from omegaconf import AnyNode, DictConfig, Node, OmegaConf, open_dict, read_write

from hydra_plugins.ioi_lab_batch_launcher._records import JobLog, JobRecords

if TYPE_CHECKING:
    from ioi_lab.jobs.batch import WaveJob


def run_job(
    context: HydraContext,
    task_function: TaskFunction,
    job: WaveJob,
    job_log: JobLog,
    records: JobRecords,
) -> JobReturn:
    """Do the same as `hydra.core.utils.run_job`, without copying the config, which belongs to this job alone.

    Hydra's function copies the config four times, which takes longer than a small job. The returned object does not
    have the config: no sweeper reads it, and those of thousands of jobs are many megabytes. A prepared job is
    passed on to the task function. `job_log` and `records` do what all jobs of a wave have in common once.
    """
    config, folder = job.config, job.folder
    hydra = config.hydra
    with read_write(hydra.runtime), open_dict(hydra.runtime):
        hydra.runtime.output_dir = str(folder)
    work: Any = task_function  # the lab's own takes a prepared job as well
    if job.prepared is not None:
        work = partial(work, prepared=job.prepared)
    before = HydraConfig.instance().cfg
    HydraConfig.instance().cfg = cast(Any, _hydra_node(config))
    own = _without_hydra(config)
    result = JobReturn(
        overrides=list(hydra.overrides.task),
        working_dir=str(Path.cwd()),
        task_name=hydra.job.name,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        job_log.open(config, folder)
        if (subdir := hydra.output_subdir) is not None:
            records.write(folder / subdir, own, hydra)
        with env_override(hydra.job.env_set):
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


def done_already(overrides: Sequence[str], task_name: str) -> JobReturn:
    """Return what stands for a job that is done and leaves nothing to do: none of the work around a job is done for it.

    That work, such as setting up the log of the job, takes longer than finding out that it is done.
    """
    return JobReturn(
        overrides=list(overrides),
        working_dir=str(Path.cwd()),
        task_name=task_name,
        _return_value=None,
        status=JobStatus.COMPLETED,
    )


def _hydra_node(config: DictConfig) -> DictConfig:
    """Return what `HydraConfig.set_config` stores, without a copy: Hydra's node, with the whole config as parent."""
    node = OmegaConf.create({})
    cast(dict[Any, Node], node._content)["hydra"] = config.hydra
    return node


def _without_hydra(config: DictConfig) -> DictConfig:
    """Return the config without Hydra's node and without copying the others, whose parent it becomes."""
    own = OmegaConf.create({})
    content = cast(dict[Any, Node], config._content)
    for key, node in content.items():
        if key != "hydra":
            cast(dict[Any, Node], own._content)[key] = node
            node._set_parent(own)
    return own


def _set_items(items: Any, values: Sequence[str], before: Sequence[str]) -> None:
    """Set the items of an OmegaConf list that are `before` to these values; each that is set takes long."""
    del items[len(values) :]
    for index, value in enumerate(values):
        if index >= len(before):
            items.append(value)
        elif value != before[index]:
            items[index] = value


@dataclass
class _Composed:
    """A composed config, whose nodes the jobs share, apart from those that their own overrides change."""

    root: bytes
    """The pickled config without its nodes."""

    keys: list[Any]
    nodes: dict[Any, Node]
    """The nodes at the top, without Hydra's, by their keys. They and Hydra's are read-only, as all jobs have them."""

    pickled: dict[Any, bytes]
    """The same nodes; unpickling takes a fifth of the time of a deepcopy."""

    hydra: DictConfig
    form_of_dirname: dict[str, Any]
    """How Hydra writes the overrides of a job as the name of a folder: arguments of `get_overrides_dirname`."""

    lines: list[str]
    """The overrides in Hydra's node now."""

    @classmethod
    def of(cls, config: DictConfig, lines: list[str]) -> _Composed:
        form = cast(dict[str, Any], OmegaConf.to_container(config.hydra.job.config.override_dirname, resolve=True))
        content = cast(dict[Any, Node], config._content)
        keys, nodes = list(content), dict(content)
        content.clear()
        hydra = cast(DictConfig, nodes.pop("hydra"))
        for node in nodes.values():
            node._set_parent(None)  # which would be pickled too
        pickled = {key: pickle.dumps(node) for key, node in nodes.items()}
        for node in (hydra, *nodes.values()):
            node._set_flag("readonly", True)
        return cls(pickle.dumps(config), keys, nodes, pickled, hydra, form, lines)

    def config(self, overrides: Sequence[Override]) -> DictConfig:
        """Return a new config with these values, without Hydra's node in its place."""
        config = cast(DictConfig, pickle.loads(self.root))
        changed = {str(override.key_or_group).partition(".")[0] for override in overrides}
        for key in self.keys:
            if key in changed:
                node: Node = pickle.loads(self.pickled[key])
            else:
                node = self.nodes[key] if key in self.nodes else AnyNode(None)
            config._content[key] = node  # type: ignore[index]
            node._set_parent(config)
        ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)
        return config

    def enter(self, config: DictConfig) -> None:
        """Let the shared nodes belong to one of the configs."""
        config._content["hydra"] = self.hydra  # type: ignore[index]
        self.hydra._set_parent(config)
        for key, node in self.nodes.items():
            if config._content[key] is node:  # type: ignore[index]
                node._set_parent(config)


class JobConfigs:
    """A config loader that composes the config groups of a sweep's jobs once, and sets each job's values in a copy.

    The configs of `job_config` equal those of Hydra's own loader, in a tenth of the time. Jobs with the same groups
    share Hydra's node, by far the largest part, and all others that their own values do not change: these belong to the
    config that was made, or entered, last.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._last: DictConfig
        self._shared: frozenset[str] = frozenset()
        self._composed: dict[tuple[tuple[str, ...], tuple[str, ...]], _Composed] = {}
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
        composed = self._composed_once(master_config, parsed, lines)
        values = [override for override, sets_a_value in parsed if sets_a_value]
        config = composed.config([one for one in values if one.input_line not in self._shared])
        self._enter(composed, config, own)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)  # such as the time in the folder's name
        return config

    def enter(self, config: DictConfig, sweep_overrides: Sequence[str]) -> None:
        """Let Hydra's node belong to the config of a job again, with the overrides of that job."""
        parsed = [self._parse(line) for line in sweep_overrides]
        own = [override for override, _ in parsed if not override.is_hydra_override()]
        self._enter(self._composed[self._key(parsed)], config, own)

    @staticmethod
    def _enter(composed: _Composed, config: DictConfig, own: Sequence[Override]) -> None:
        composed.enter(config)
        job, overrides = composed.hydra.job, composed.hydra.overrides
        lines = [str(override.input_line) for override in own]
        with read_write(job), read_write(overrides):  # a flag of the whole node takes as long as all the rest
            if lines != composed.lines:
                _set_items(overrides.task, lines, composed.lines)
                composed.lines = lines
            job.override_dirname = get_overrides_dirname(overrides=list(own), **composed.form_of_dirname)

    def _key(self, parsed: Sequence[tuple[Override, bool]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what is composed once: the choices of groups, and the values that all jobs share."""
        groups = tuple(str(override.input_line) for override, sets_a_value in parsed if not sets_a_value)
        return groups, tuple(str(override.input_line) for override in self._shared_values(parsed))

    def _shared_values(self, parsed: Sequence[tuple[Override, bool]]) -> list[Override]:
        return [one for one, sets_a_value in parsed if sets_a_value and one.input_line in self._shared]

    def _composed_once(
        self, master_config: DictConfig, parsed: Sequence[tuple[Override, bool]], lines: list[str]
    ) -> _Composed:
        """Return the config groups of a job and the values that all jobs share."""
        key = self._key(parsed)
        if key not in self._composed:
            composed = self._loader.load_sweep_config(master_config, list(key[0]))
            ConfigLoaderImpl._apply_overrides_to_config(self._shared_values(parsed), composed)
            composed.hydra.overrides.task = lines
            self._composed[key] = _Composed.of(composed, lines)
        return self._composed[key]

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
