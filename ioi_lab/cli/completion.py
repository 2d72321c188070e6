"""Completion of `ioi-lab` in a shell; Hydra's `--shell-completion` completes what `sweep`, `align` and `study` take."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

FLAGS: Final = ("--shell-completion", "-sc")
"""Hydra's flag. What it installs asks the program itself: `ioi-lab -sc query=bash`, with the line in `COMP_LINE`."""

_BY_HYDRA: Final = ("sweep", "align", "study")
_LINE: Final = "COMP_LINE"


def complete(arguments: Sequence[str], subcommands: Sequence[str], run: Callable[[str, Sequence[str]], None]) -> None:
    """Print what completes the line that is typed, or install completion in the shell.

    Args:
        arguments: The arguments of `ioi-lab`.
        subcommands: The names of all subcommands.
        run: Runs a subcommand with arguments.

    """
    program, *words = os.environ.get(_LINE, "").split(" ")
    if not any("query=" in argument for argument in arguments):  # install or uninstall, for the whole program
        run("sweep", arguments)
    elif len(words) <= 1:
        print(" ".join(name for name in subcommands if name.startswith(words[0] if words else "")))
    elif words[0] in _BY_HYDRA:
        os.environ[_LINE] = " ".join([program, *words[1:]])  # Hydra knows no subcommands
        run(words[0], arguments)
    elif words[0] == "info":
        print(" ".join(_described(words[-1])))


def _described(word: str) -> list[str]:
    """Return the config groups, or the options of one, that a word begins."""
    from ioi_lab.cli.config_files import groups, options_of

    group, equals, _ = word.partition("=")
    names = [f"{group}={option}" for option in options_of(group)] if equals else groups()
    return [name for name in names if name.startswith(word)]
