"""What Hydra leaves in the folder of each job, its log and its records, with the common parts made once."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from ioi_lab.storage.files import yaml_text


class JobLog:
    """The log of one job after another: set up for the first, then directed to the file of the next.

    Python's set-up of logging looks through all loggers, which takes longer than a small job's own messages.
    """

    def __init__(self) -> None:
        self._hydra: object = None
        """Hydra's node for whose jobs the log is set up."""

        self._files: set[str] = set()
        """The handlers that write to a file of the job; empty if not all that differs between jobs are such files."""

    def open(self, config: DictConfig) -> None:
        """Direct the log to the files of the job with this config."""
        hydra = config._get_node("hydra")
        if hydra is self._hydra and self._files and self._redirect(config, self._files):
            return
        configure_log(config.hydra.job_logging, config.hydra.verbose)
        settings = OmegaConf.to_container(config.hydra.job_logging, resolve=False)
        files = _take_files(settings)
        self._hydra, self._files = hydra, set() if "${" in repr(settings) else files

    @staticmethod
    def _redirect(config: DictConfig, files: set[str]) -> bool:
        """Let the root's handlers write to the files of the job; returns whether all of them could."""
        handlers = {handler.name: handler for handler in logging.getLogger().handlers}
        for name in files:
            handler = handlers.get(name)
            if type(handler) is not logging.FileHandler:
                return False
            handler.baseFilename = str(Path(config.hydra.job_logging.handlers[name].filename).absolute())
            before = handler.setStream(handler._open())
            if before is not None:
                before.close()
        return True


def _take_files(settings: Any) -> set[str]:
    """Take the names of files out of the settings of logging; returns the names of the handlers that are used."""
    handlers = settings.get("handlers") or {} if isinstance(settings, dict) else {}
    used = (settings.get("root") or {}).get("handlers") or [] if isinstance(settings, dict) else []
    for handler in handlers.values():
        if isinstance(handler, dict):
            handler.pop("filename", None)
    writing = {name for name, handler in handlers.items() if "FileHandler" in str((handler or {}).get("class"))}
    return writing & set(used)


@dataclass(frozen=True)
class _Shared:
    """The records of the first job of a composed config, of which the other jobs change parts."""

    node: DictConfig
    """Hydra's node, which is kept so that no other has its identity."""

    lines: frozenset[str]
    """The overrides of the first job."""

    hydra: dict[str, Any]
    texts_of_hydra: dict[str, str]
    texts: dict[str, str]
    """The text of each key of the config."""


class JobRecords:
    """Hydra's records of jobs (`.hydra/`): only what differs from the first job of a composed config is made anew."""

    def __init__(self) -> None:
        self._shared: dict[int, _Shared] = {}

    def write(self, folder: Path, own: DictConfig, hydra: DictConfig) -> None:
        """Write the records of the job with this config and this node of Hydra's."""
        lines = [str(line) for line in hydra.overrides.task]
        shared = self._shared.get(id(hydra)) or self._first(own, hydra, lines)
        changed = {_first_key(line) for line in shared.lines.symmetric_difference(lines)} & own.keys()
        texts = shared.texts | {str(key): yaml_text({str(key): _plain_of(own, key)}) for key in changed}
        folder.mkdir(exist_ok=True)
        (folder / "config.yaml").write_text("".join(texts.values()) or yaml_text({}))
        (folder / "overrides.yaml").write_text(yaml_text(lines))
        (folder / "hydra.yaml").write_text(_of_hydra(shared, hydra, lines))

    def _first(self, own: DictConfig, hydra: DictConfig, lines: list[str]) -> _Shared:
        parts = _plain(hydra)
        texts = {str(key): yaml_text({str(key): part}) for key, part in _plain(own).items()}
        texts_of_hydra = {key: _text(key, part) for key, part in parts.items()}
        self._shared[id(hydra)] = _Shared(hydra, frozenset(lines), parts, texts_of_hydra, texts)
        return self._shared[id(hydra)]


def _of_hydra(shared: _Shared, hydra: DictConfig, lines: list[str]) -> str:
    """Return Hydra's node as YAML: jobs differ in their numbers, their overrides and their folders."""
    job, runtime = hydra.job, hydra.runtime
    changed = {
        "overrides": {"task": lines},
        "job": {name: job._get_node(name)._value() for name in ("override_dirname", "id", "num")},
        "runtime": {"output_dir": runtime.output_dir},
    }
    texts = {key: _text(key, shared.hydra[key] | values) for key, values in changed.items()}
    return "".join(["hydra:\n", *(shared.texts_of_hydra | texts).values()])


def _first_key(line: str) -> str:
    """Return the key at the top of the config that an override changes."""
    return line.lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".").partition(".")[0]


def _plain_of(own: DictConfig, key: Any) -> Any:
    """Return the plain value of a key; nothing is copied."""
    alone = OmegaConf.create({})
    cast(dict[Any, Any], alone._content)[key] = cast(dict[Any, Any], own._content)[key]
    return _plain(alone)[key]


def _text(key: str, part: Any) -> str:
    """Return a part of Hydra's node as the lines that it has in the whole."""
    return yaml_text({"hydra": {key: part}}).removeprefix("hydra:\n")


def _plain(config: Any) -> Any:
    """Return a part of a config as plain values, as it is written: interpolations stay."""
    return OmegaConf.to_container(config, resolve=False, enum_to_str=True)
