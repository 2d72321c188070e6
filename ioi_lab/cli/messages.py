"""Errors of Hydra, OmegaConf and the system as one readable line: the key, the value, and what to type instead."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.errors import LabError, folded

EXTRAS: Final = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/submitit_slurm": "slurm",
    "hydra/launcher/ray": "ray",
    "hydra/sweeper/optuna": "optuna",
}
"""Options that need an extra of this package, and which one."""

RENAMED_KEYS: Final[Mapping[str, str]] = {
    "site": "component",
    "run": "prompts",
    "method": "through",
    "vector": "vector_method",
    **{key: f"lens.{key}" for key in ("text", "translators", "steps", "batch", "learning_rate", "seed")},
}
"""The last part of keys that had another name, or another place, in earlier versions."""

USER_ERRORS: Final = (LabError, HydraException, OmegaConfBaseException, OSError)


def one_line(error: BaseException) -> str:
    """Return an error as a line that names the key, the value and the choices."""
    if isinstance(error, OSError):
        return (
            f"cannot write or read {os.fsdecode(error.filename)!r}: {error.strerror}" if error.filename else str(error)
        )
    line = folded(error)
    if match := re.match(r"Ambiguous value for argument '([^=]+)=(.*?)'", line):
        key, value = match.groups()
        if _is_group(key):
            return f"{key}: got {value!r}, but it takes one option; add -m for one run per option"
        return f"{key}: got {value!r}; write a list as '{key}=[{value}]', or add -m for one run per value"
    return line


def check_no_list_of_options(override: str) -> None:
    """Raise a `LabError` for a list of options of a config group, of which Hydra would take the last one in silence."""
    key, _, value = override.partition("=")
    if _is_group(key) and re.fullmatch(r"\s*\[.*\]\s*", value, re.DOTALL):
        options = value.strip().strip("[]").replace(" ", "")
        raise LabError(
            f"{key}: got {value!r}, but it takes one option; write -m {key}={options} for one run per option"
        )


def _is_group(key: str) -> bool:
    """Whether a key is a config group, such as `model` or `model@source`; presets (`experiment`) may be combined."""
    group = key.partition("@")[0]
    return group != "experiment" and "/" not in group and "." not in group and (CONFIG_FOLDER / group).is_dir()


def unknown_option(error: MissingConfigException) -> str:
    """Return the line for a config group without the option that was typed."""
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, option = missing.rpartition("/")
    if not group:
        return folded(error)
    if missing in EXTRAS:
        command = f"pip install --constraint constraints.txt '.[{EXTRAS[missing]}]'"
        return f"{group}: got {option!r}, which is not installed; it comes with: {command}"
    return f"{group}: got {option!r}, expected one of {', '.join(error.options or [])}"


def unknown_key(error: ConfigCompositionException, config_name: str) -> str:
    """Return the line for a key that the composed config does not have."""
    match = re.search(r"Could not override '([^']+)'", str(error))
    if match is None:
        return one_line(error)
    key = match.group(1)
    parent, _, last = key.rpartition(".")
    choices = _keys_of(parent, config_name)
    if key in choices:
        return f"{key}: this config is composed already; override its keys one by one ({key}.…=…)"
    renamed = f"{parent}.{RENAMED_KEYS.get(last)}"
    if renamed in choices or renamed.rpartition(".")[0] in choices:
        return f"{key}: this key is now {renamed}"
    if options := _options_with(parent, last):
        return f"{key}: this is a key of {' or '.join(options)}; expected one of {', '.join(choices)}"
    by_last = {choice.rpartition(".")[2]: choice for choice in choices}
    close = [by_last[name] for name in get_close_matches(last, by_last, n=1)]
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{key}: no such key{hint}; expected one of {', '.join(choices)}"


def _options_with(parent: str, key: str) -> list[str]:
    """Return the options that have a key, of a config group that is placed below another one, such as `lens@…`."""
    above, _, group = parent.rpartition(".")
    if not above:
        return []
    files = sorted((CONFIG_FOLDER / group).glob("*.yaml"))
    return [f"{group}@{parent}={file.stem}" for file in files if key in list(OmegaConf.load(file))]


def _keys_of(parent: str, config_name: str) -> list[str]:
    """Return the full names of the keys under `parent`, with the config groups that the command line names."""
    GlobalHydra.instance().clear()
    groups = [word for word in sys.argv[1:] if re.fullmatch(r"[a-z_]+(@[a-z_.]+)?=[\w-]+", word)]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        try:
            config = compose(config_name, overrides=groups)
        except HydraException:  # the key at the top of the line is itself the wrong one
            config = compose(config_name)
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return [str(key) for key in config]
    return [f"{parent}.{key!s}" if parent else str(key) for key in node if key != "_target_"]
