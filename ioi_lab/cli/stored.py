"""Stored configs: the `config.yaml` of a run, which may be anybody's, is data and runs no code of its choice.

Of a config that `--config-name` takes from a folder (and of all files of that folder), Hydra sees what is left when

- everything about Hydra itself (callbacks, launchers, logging, search path, environment) has been dropped,
- every `_target_` has been checked against `ioi_lab.plugins`, before anything is imported, and
- nothing asks the environment, or any other resolver, for a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from hydra.plugins.config_source import ConfigSource
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar.gen.OmegaConfGrammarParser import OmegaConfGrammarParser as Grammar
from omegaconf.grammar_parser import parse

from ioi_lab.config import CONFIG_FOLDER, check_targets
from ioi_lab.errors import LabError, folded
from ioi_lab.storage.files import read_user_file
from ioi_lab.terminal import say

SCHEME: Final = "stored"
"""The scheme of Hydra's search path for folders with stored configs."""

_MAX_MB: Final = 4
_MAX_VALUES: Final = 100_000
"""A few lines of YAML can stand for more values than memory holds (an alias of lists of aliases)."""

_MAX_DEPTH: Final = 50
_MAX_TEXT: Final = 1_000
"""The largest length of a text with an interpolation: parsing takes long."""

_FLAGS: Final = {
    "-cn": "--config-name",
    "--config-name": "--config-name",
    "-cd": "--config-dir",
    "--config-dir": "--config-dir",
}
_OF_HYDRA: Final = re.compile(r"(^|[/@.\s])hydra($|[/@.:\s])")


@dataclass(frozen=True)
class StoredConfig:
    """What is left of a stored config."""

    content: Any
    package: str | None
    """The package of Hydra that its header names."""

    dropped: tuple[str, ...]
    """What has been dropped because it is about Hydra."""


def stored_config(arguments: Sequence[str]) -> tuple[Path, str] | None:
    """Return the folder and file name of the config that a command line takes from `--config-dir`, if it takes one.

    Raises a `LabError` for a name that leaves the folders of configs.
    """
    values = flag_values(arguments)
    name = values.get("--config-name", "")
    if not name:
        return None
    file_name = name if name.endswith(".yaml") else f"{name}.yaml"
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise LabError(f"--config-name: got {name!r}, expected a name; its folder is given by --config-dir FOLDER")
    if "--config-dir" not in values or (CONFIG_FOLDER / file_name).is_file():
        return None
    folder = Path(values["--config-dir"]).absolute()
    return (folder, file_name) if (folder / file_name).exists() else None


def check_stored_config(arguments: Sequence[str]) -> None:
    """Print what is dropped from the stored config that a command line names, if it names one.

    Raises a `LabError` if that config may not be used.
    """
    found = stored_config(arguments)
    if found is None:
        return
    file = found[0] / found[1]
    if dropped := read_stored_config(file).dropped:
        say(f"{file}: ignored {', '.join(dropped)}; what is Hydra's is set on the command line alone")


def flag_values(arguments: Sequence[str]) -> dict[str, str]:
    """Return the values of `--config-name` and `--config-dir`, in any form in which they can be typed."""
    values: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        flag, equals, value = argument.partition("=")
        if flag in _FLAGS:
            values[_FLAGS[flag]] = value if equals else next(rest, "")
    return values


def read_stored_config(path: Path) -> StoredConfig:
    """Return what is left of a stored config; raises a `LabError` if it cannot be read or may not be used."""
    text = _text_of(path)
    try:
        plain = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        _check_values(plain, path)
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
        header = ConfigSource._get_header_dict(text[:512])
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise LabError(f"{path}: cannot be read as a config: {folded(error)[:300]}") from error
    if not isinstance(content, dict):
        raise LabError(f"{path}: is not a config: it has no keys")
    package = header.get("package")
    if package is not None and "_name_" in package:
        raise LabError(f"{path}: got the package {package!r}, expected one without _name_")
    if package is not None and _OF_HYDRA.search(package):
        return StoredConfig({}, None, (f"all of it (package {package})",))
    dropped = ["hydra"] if content.pop("hydra", None) is not None else []
    check_targets(content)
    if "defaults" in content:
        content["defaults"], of_hydra = _checked_defaults(content["defaults"], path)
        dropped += of_hydra
    return StoredConfig(content, package, tuple(dropped))


def _text_of(path: Path) -> str:
    try:
        return read_user_file(path, str(path), max_mb=_MAX_MB).decode()
    except UnicodeDecodeError as error:
        raise LabError(f"{path}: is not UTF-8 text") from error


def _check_values(values: Any, path: Path) -> None:
    """Raise a `LabError` for too many values, and for a text that asks a resolver for a value."""
    rest: list[tuple[str, Any, int]] = [("", values, 0)]
    count = 0
    while rest:
        key, value, depth = rest.pop()
        count += 1
        if count > _MAX_VALUES or depth > _MAX_DEPTH:
            raise LabError(f"{path}: stands for more than {_MAX_VALUES} values, or nests them too deeply")
        if isinstance(value, str) and "${" in value and not f"{key}.".startswith("hydra.") and _asks_a_resolver(value):
            raise LabError(
                f"{key}: got {value[:100]!r} in {path}, but a stored config can neither read the environment nor call "
                "a resolver; write the value itself, or type the key"
            )
        if isinstance(value, dict):
            rest += [(f"{key}.{name}".lstrip("."), below, depth + 1) for name, below in value.items()]
        elif isinstance(value, list | tuple | set):
            rest += [(key, below, depth + 1) for below in value]


def _asks_a_resolver(text: str) -> bool:
    if len(text) > _MAX_TEXT:
        return True
    try:
        return any(isinstance(node, Grammar.InterpolationResolverContext) for node in _nodes(parse(text)))
    except (OmegaConfBaseException, RecursionError):
        return True


def _nodes(tree: Any) -> Iterator[Any]:
    yield tree
    for child in getattr(tree, "children", None) or ():
        yield from _nodes(child)


def _checked_defaults(defaults: Any, path: Path) -> tuple[list[Any], list[str]]:
    """Return a defaults list without what is Hydra's, and what that was.

    Raises a `LabError` for an entry that may name a file outside the folders of configs.
    """
    if not isinstance(defaults, list):
        raise LabError(f"defaults: got {defaults!r} in {path}, expected a list")
    kept: list[Any] = []
    dropped: list[str] = []
    for entry in defaults:
        texts = list(_texts(entry))
        if any(".." in text or "${" in text or "_name_" in text for text in texts):
            raise LabError(f"defaults: got {entry!r} in {path}, expected options of the lab's config groups, by name")
        if any(_OF_HYDRA.search(text) for text in texts):
            dropped.append(" ".join(texts))
        else:
            kept.append(entry)
    return kept, dropped


def _texts(entry: Any) -> Iterator[str]:
    if isinstance(entry, dict):
        for name, value in entry.items():
            yield from _texts(name)
            yield from _texts(value)
    elif isinstance(entry, list):
        for part in entry:
            yield from _texts(part)
    elif entry is not None:
        yield str(entry)
