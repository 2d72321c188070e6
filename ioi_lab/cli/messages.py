"""Errors of Hydra, OmegaConf and the system as one readable line: the key, the value, and what to type instead."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Final

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ioi_lab.cli.grammar import option_named, unreadable
from ioi_lab.cli.places import elsewhere, instead_of
from ioi_lab.cli.stored import flag_values
from ioi_lab.config import CONFIG_FOLDER, config_folders, own_config_folder
from ioi_lab.errors import LabError, did_you_mean, folded

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


def line_of(error: Exception, arguments: Sequence[str], config_name: str) -> str:
    """Return a user's mistake as the line that the command line prints, and that `LabError`s of `lab.run` have.

    Args:
        error: One of `USER_ERRORS`.
        arguments: The overrides and flags that were typed.
        config_name: The name of the root config, such as `sweep`.

    """
    match error:
        case OverrideParseException():
            line = unreadable(error.override, arguments)
        case MissingConfigException():
            line = unknown_option(error, arguments)
        case ConfigCompositionException():
            line = unknown_key(error, config_name, arguments)
        case _:
            line = one_line(error, arguments)
    return line + what_instead(line, arguments)


def one_line(error: BaseException, arguments: Sequence[str]) -> str:
    """Return an error as a line that names the key, the value and the choices, given what was typed."""
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
    if match := re.match(r"Error merging override ([^=]+)=(.*)", line):
        key, value = match.groups()
        return f"{key}: got {value}, expected values for its keys one by one ({key}.…=…)"
    if match := re.match(r"Interpolation key '([^']+)' not found", line):
        keys = [key for key, value in typed(arguments).items() if match[1] in value]
        return f"{keys[0] if keys else 'config'}: got ${{{match[1]}}}, but the config has no key {match[1]!r}"
    return line


def check_flag(argument: str, flags: Sequence[str], with_value: Sequence[str]) -> None:
    """Raise a `LabError` for a flag that Hydra does not have, or that takes no value."""
    name, equals, value = argument.partition("=")
    if name in flags and equals:
        raise LabError(f"{argument}: this flag takes no value; write {name}")
    if name in (*flags, *with_value):
        return
    if equals:
        agent = (
            "; for W&B agents, put ${args_no_hyphens} into the sweep's command"
            if "WANDB_SWEEP_ID" in os.environ
            else ""
        )
        raise LabError(f"{argument}: no such flag; a config key has no dashes: write {name.lstrip('-')}={value}{agent}")
    hint = f" (did you mean {name.lower()}?)" if name.lower() in flags else did_you_mean(name, flags)
    raise LabError(f"{argument}: no such flag{hint}; a config key is set with key=value, --hydra-help lists the flags")


def check_override(override: str) -> None:
    """Raise a `LabError` for what Hydra would take in silence, or take for something else.

    These are a list of options of a config group (Hydra takes the last one), a value without a key, and a launcher or a
    sweeper that is set like a key.
    """
    key, equals, value = override.partition("=")
    if equals and not key.strip() and override != "=":
        raise LabError(f"{override}: has no key; write key{override.strip()}")
    if key in ("hydra.launcher", "hydra.sweeper"):
        raise LabError(f"{key}: got {value!r}, but this is a config group; write {key.replace('.', '/')}={value}")
    check_not_of_the_lab(key.partition("@")[0], value)
    if _is_group(key) and re.fullmatch(r"\s*\[.*\]\s*", value, re.DOTALL):
        options = value.strip().strip("[]").replace(" ", "")
        raise LabError(
            f"{key}: got {value!r}, but it takes one option; write -m {key}={options} for one run per option"
        )


def check_not_of_the_lab(group: str, value: str) -> None:
    """Raise a `LabError` for an option of one's own with the name of an option of the lab, which Hydra would take."""
    own = own_config_folder()
    for option in value.split(",") if own is not None and re.fullmatch(r"[\w/-]+", group) else ():
        file = Path(group, f"{option.strip()}.yaml")
        if own is not None and (own / file).is_file() and (CONFIG_FOLDER / file).is_file():
            raise LabError(f"{group}: got {option!r}, which the lab and conf/{file} both have; give yours another name")


def _is_group(key: str) -> bool:
    """Whether a key is a config group, such as `model` or `model@source`; presets (`experiment`) may be combined."""
    group = key.partition("@")[0]
    return (
        group != "experiment"
        and "/" not in group
        and "." not in group
        and any((folder / group).is_dir() for folder in config_folders())
    )


def unknown_option(error: MissingConfigException, arguments: Sequence[str]) -> str:
    """Return the line for a config group without the option that was typed, which names the group as it was typed."""
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, option = missing.rpartition("/")
    if not group:
        return folded(error)
    if missing in EXTRAS:
        return (
            f"{group}: got {option!r}, which is not installed; it comes with: pip install 'ioi-lab[{EXTRAS[missing]}]'"
        )
    options = error.options or []
    names = [key for key, value in typed(arguments).items() if key.partition("@")[0] == group and option in value]
    return (
        f"{names[0] if names else group}: got {option!r}{did_you_mean(option, options)}, expected one of "
        f"{', '.join(options)}"
    )


def unknown_key(error: ConfigCompositionException, config_name: str, arguments: Sequence[str]) -> str:
    """Return the line for a key that the composed config does not have, or has already (`+key`)."""
    if match := re.search(r"An item is already at '([^']+)'|^(\S+) appears more than once", str(error)):
        key = match[1] or match[2]
        return f"+{key}: the config has this key already; leave the + away: {key}={_value(f'+{key}', arguments)}"
    match = re.search(r"Could not (override|delete from config\.) '([^']+)'", str(error))
    if match is None:
        return one_line(error, arguments)
    key = match[2]
    line = elsewhere(key, _value(key, arguments), config_name) or _unknown(key, config_name, arguments)
    return line if match[1] == "override" else f"~{line}"


def _unknown(key: str, config_name: str, arguments: Sequence[str]) -> str:
    parent, _, last = key.rpartition(".")
    choices = _keys_of(parent, config_name, arguments)
    if key in choices:
        return f"{key}: this config is composed already; override its keys one by one ({key}.…=…)"
    renamed = f"{parent}.{RENAMED_KEYS.get(last)}"
    if last in RENAMED_KEYS and (renamed in choices or renamed.rpartition(".")[0] in choices):
        return f"{key}: this key is now {renamed}"
    below = [] if parent else [name for group in choices for name in _keys_of(group, config_name, arguments)]
    is_missing = parent != "" and not choices[0].startswith(f"{parent}.")
    if is_missing and (chosen := option_named(parent)):
        key_there = f"{chosen.partition('=')[0]}.{last}"
        return f"{key}: no such key; write {chosen} {key_there}={_value(key, arguments)}"
    if longer := [name for name in below if name.rpartition(".")[2] == last and "." in name]:
        return f"{key}: no such key; write {' or '.join(f'{name}={_value(key, arguments)}' for name in longer)}"
    if options := _options_with(parent, last):
        return f"{key}: this is a key of {' or '.join(options)}; expected one of {', '.join(choices)}"
    close = [name for names in (choices, below) for name in _close_by_last(last, names)]
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{key}: no such key{hint}; expected one of {', '.join(choices)}"


def _close_by_last(last: str, names: Sequence[str]) -> list[str]:
    """Return the full name whose last part is most like `last`, or nothing."""
    by_last = {name.rpartition(".")[2]: name for name in reversed(names)}
    return [by_last[name] for name in get_close_matches(last, by_last, n=1)]


def what_instead(line: str, arguments: Sequence[str]) -> str:
    """Return the end of a line about a wrong value that only the command line explains; empty if it does not.

    It names the preset (`experiment=…`) that set a key that was not typed, and the config group that is to be typed
    instead of the name of one of its options.
    """
    words = typed(arguments)
    key = line.partition(":")[0]
    if "valid dictionary" in line and key in words and (group := instead_of(key)):
        return f"; write {group}={words[key]}"
    if any(word.lstrip("+~") == key for word in words):
        return ""
    for name in re.findall(r"[\w-]+", words.get("experiment", "")):
        files = [file for folder in config_folders() if (file := folder / "experiment" / f"{name}.yaml").is_file()]
        if any(OmegaConf.select(OmegaConf.load(file), key) is not None for file in files[:1]):
            chosen = f"intervention={words['intervention']}" if "intervention" in words else "the rest of the command"
            return f", but experiment={name} sets it, which does not go with {chosen}; leave one of them away"
    return ""


def typed(arguments: Sequence[str]) -> dict[str, str]:
    """Return the values of a command line by the keys as they were typed, prefixes such as `+` included."""
    pairs = (word.partition("=") for word in arguments if not word.startswith("-"))
    return {key: value for key, _, value in pairs}


def _value(key: str, arguments: Sequence[str]) -> str:
    """Return what was typed for a key, or dots."""
    return typed(arguments).get(key) or "…"


def _options_with(parent: str, key: str) -> list[str]:
    """Return the options of a config group that have a key: `intervention=steer`, `lens@intervention.lens=tuned`."""
    above, _, group = parent.rpartition(".")
    files = [file for folder in config_folders() for file in sorted((folder / group).glob("*.yaml")) if group]
    name = f"{group}@{parent}" if above else group
    return [f"{name}={file.stem}" for file in files if key in list(OmegaConf.load(file))]


def _keys_of(parent: str, config_name: str, arguments: Sequence[str]) -> list[str]:
    """Return the full names of the keys under `parent`, with the config groups that the command line names."""
    config = _composed(config_name, tuple(arguments))
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return [str(key) for key in config]
    return [f"{parent}.{key!s}" if parent else str(key) for key in node if key != "_target_"]


@lru_cache(maxsize=1)
def _composed(config_name: str, arguments: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    groups = [word for word in arguments if re.fullmatch(r"[a-z_]+(@[a-z_.]+)?=[\w-]+", word)]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        try:
            return compose(config_name, overrides=[*_searchpath(arguments), *groups])
        except HydraException:  # the key at the top of the line is itself the wrong one
            return compose(config_name)


def _searchpath(arguments: Sequence[str]) -> list[str]:
    """Return the override that makes Hydra find the folder of `--config-dir`, which `compose` does not know."""
    folder = flag_values(arguments).get("--config-dir")
    written = [word for word in arguments if word.startswith("hydra.searchpath=")]
    return written or ([] if folder is None else [f"hydra.searchpath=['file://{Path(folder).absolute()}']"])
