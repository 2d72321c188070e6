"""What all entry points share: a Hydra command whose errors are one readable line."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NoReturn

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ioi_lab.errors import LabError

CONFIG_FOLDER: Final = Path(__file__).resolve().parent.parent / "conf"
USER_ERRORS: Final = (LabError, HydraException, OmegaConfBaseException, OSError)
_show_traceback = False


def run_command(entry_point: Callable[[], Any]) -> None:
    """Run a `hydra.main` function; a user's mistake ends with one line and exit code 1.

    `HYDRA_FULL_ERROR=1` brings the traceback back. Ctrl-C ends with code 130.
    """
    global _show_traceback
    logging.raiseExceptions = False  # `| head` closes the pipe that the log writes to, which is no error of the run
    _show_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra must not print its own pages: the error has to reach this function
    try:
        entry_point()
    except KeyboardInterrupt:
        sys.exit(130)
    except USER_ERRORS as error:
        _end(error)


def run_job(job: Callable[[Path, str | None], object], name: str) -> None:
    """Run one Hydra job: `job(folder, group)`, where `group` names the sweep `name` that it belongs to, if any.

    A user's mistake in a single run ends the program here. In a multirun it goes up to Hydra, which runs the other
    jobs first.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    if hydra.mode == RunMode.MULTIRUN:
        job(folder, f"{name} {Path(hydra.sweep.dir).name}")
        return
    try:
        job(folder, None)
    except USER_ERRORS as error:
        _end(error)


def _end(error: BaseException) -> NoReturn:
    """End the program with the error in one line, or as it is where the user wants tracebacks."""
    if _show_traceback:
        raise error
    print(f"error: {one_line(error)}", file=sys.stderr)
    sys.exit(1)


def one_line(error: BaseException) -> str:
    """The error as a line that names the key, what it got and what it may be."""
    if isinstance(error, MissingConfigException):
        return _unknown_option(error)
    if isinstance(error, ConfigCompositionException):
        return _unknown_key(str(error))
    if isinstance(error, OSError):
        return (
            f"cannot write or read {os.fsdecode(error.filename)!r}: {error.strerror}" if error.filename else str(error)
        )
    return " ".join(str(error).split())


def _unknown_option(error: MissingConfigException) -> str:
    missing = str(error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, option = missing.rpartition("/")
    if not group:
        return " ".join(str(error).split())
    return f"{group}: got {option!r}, expected one of {', '.join(error.options or [])}"


def _unknown_key(message: str) -> str:
    match = re.search(r"Could not override '([^']+)'", message)
    if match is None:
        return " ".join(message.split())
    key = match.group(1)
    parent, _, _ = key.rpartition(".")
    choices = _keys_of(parent)
    close = get_close_matches(key, choices, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{key}: no such key{hint}; expected one of {', '.join(choices)}"


def _keys_of(parent: str) -> list[str]:
    """Full names of the keys under `parent` in the composed config, with the groups that the command line names."""
    GlobalHydra.instance().clear()
    groups = [word for word in sys.argv[1:] if re.fullmatch(r"[a-z_]+=[\w-]+", word)]
    with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        try:
            config = compose("sweep", overrides=groups)
        except HydraException:  # the key at the top of the line is itself the wrong one
            config = compose("sweep")
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return [str(key) for key in config]
    return [f"{parent}.{key!s}" if parent else str(key) for key in node if key != "_target_"]
