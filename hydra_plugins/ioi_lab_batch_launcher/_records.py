"""What Hydra leaves in the folder of each job, its log and its records, with the common parts made once."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from hydra.core.utils import configure_log
from omegaconf import DictConfig, OmegaConf

from ioi_lab.storage.files import yaml_text

_IN_FOLDER: Final = re.compile(r"\$\{hydra\.runtime\.output_dir\}/([^$]+)")
"""A file in a job's folder, as Hydra's config names it."""


class JobLog:
    """The log of one job after another: set up for the first, then directed to the file of the next.

    Python's set-up of logging looks through all loggers, which takes longer than a small job's own messages.
    """

    def __init__(self) -> None:
        self._hydra: object = None
        """Hydra's node for whose jobs the log is set up."""

        self._files: dict[str, str] = {}
        """The handlers that write to a file in the job's folder, and the name of the file; empty if jobs differ in more
        than their folders."""

    def open(self, config: DictConfig, folder: Path) -> None:
        """Direct the log to the files of the job with this config, which runs in this folder."""
        hydra = config._get_node("hydra")
        if hydra is self._hydra and self._files and self._redirect(folder):
            return
        configure_log(config.hydra.job_logging, config.hydra.verbose)
        settings = OmegaConf.to_container(config.hydra.job_logging, resolve=False)
        files = _take_files(settings)
        self._hydra, self._files = hydra, {} if "${" in repr(settings) else files

    def _redirect(self, folder: Path) -> bool:
        """Let the root's handlers write to the files in a job's folder; returns whether all of them could."""
        handlers = {handler.name: handler for handler in logging.getLogger().handlers}
        for name, file in self._files.items():
            handler = handlers.get(name)
            if type(handler) is not logging.FileHandler:
                return False
            handler.baseFilename = str(folder / file)
            before = handler.setStream(handler._open())
            if before is not None:
                before.close()
        return True


def _take_files(settings: Any) -> dict[str, str]:
    """Take the files in the job's folder out of the settings of logging; returns those that are used, by handler."""
    handlers = settings.get("handlers") or {} if isinstance(settings, dict) else {}
    used = (settings.get("root") or {}).get("handlers") or [] if isinstance(settings, dict) else []
    files = {}
    for name, handler in handlers.items():
        if isinstance(handler, dict) and (in_folder := _IN_FOLDER.fullmatch(str(handler.get("filename")))):
            files[name] = in_folder[1]
            del handler["filename"]
    return {name: file for name, file in files.items() if name in used}


@dataclass(frozen=True)
class _Shared:
    """The records of the first job of a composed config, of which the other jobs change parts."""

    node: DictConfig
    """Hydra's node, which is kept so that no other has its identity."""

    lines: frozenset[str]
    """The overrides of the first job."""

    hydra: dict[str, dict[str, str]]
    """The text of each key of Hydra's node, by the keys within it."""

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
        texts = {str(key): yaml_text({str(key): part}) for key, part in _plain(own).items()}
        self._shared[id(hydra)] = _Shared(hydra, frozenset(lines), _texts_within(_plain(hydra)), texts)
        return self._shared[id(hydra)]


def _of_hydra(shared: _Shared, hydra: DictConfig, lines: list[str]) -> str:
    """Return Hydra's node as YAML: jobs differ in their numbers, their overrides and their folders."""
    job, runtime = hydra.job, hydra.runtime
    changed = _texts_within(
        {
            "overrides": {"task": lines},
            "job": {name: job._get_node(name)._value() for name in ("override_dirname", "id", "num")},
            "runtime": {"output_dir": runtime.output_dir},
        }
    )
    texts = {key: within | changed.get(key, {}) for key, within in shared.hydra.items()}
    return "".join(["hydra:\n", *(text for within in texts.values() for text in within.values())])


def _first_key(line: str) -> str:
    """Return the key at the top of the config that an override changes."""
    return line.lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".").partition(".")[0]


def _plain_of(own: DictConfig, key: Any) -> Any:
    """Return the plain value of a key; nothing is copied."""
    alone = OmegaConf.create({})
    cast(dict[Any, Any], alone._content)[key] = cast(dict[Any, Any], own._content)[key]
    return _plain(alone)[key]


def _texts_within(parts: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the lines that each key within the keys of Hydra's node has in the whole, after that of the key itself."""
    texts: dict[str, dict[str, str]] = {}
    for key, part in parts.items():
        if not isinstance(part, dict) or not part:
            texts[key] = {"": yaml_text({"hydra": {key: part}}).removeprefix("hydra:\n")}
            continue
        texts[key] = {"": f"  {key}:\n"}
        for name, value in part.items():
            texts[key][name] = yaml_text({"hydra": {key: {name: value}}}).removeprefix(f"hydra:\n  {key}:\n")
    return texts


def _plain(config: Any) -> Any:
    """Return a part of a config as plain values, as it is written: interpolations stay."""
    return OmegaConf.to_container(config, resolve=False, enum_to_str=True)
