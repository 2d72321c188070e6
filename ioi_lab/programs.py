"""The lab's commands as the user has typed them, for hints that can be pasted."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from typing_extensions import override

from ioi_lab.errors import did_you_mean

VERSION: Final = "0.2.0"
PROGRAM: Final = "ioi-lab"
"""The installed command."""

_SCRIPTS: Final[Mapping[str, str]] = {"sweep": "sweep.py", "align": "train_align.py"}
"""The scripts at the top of the repository, by the subcommands that do the same."""


def typed_command(subcommand: str) -> str:
    """Return how to start a subcommand in the way in which this process was started.

    That is `python sweep.py` for a script of the repository, `python -m ioi_lab sweep` for the module, and else
    `ioi-lab sweep`.
    """
    name = typed_name(subcommand)
    return f"python {name}" if name in _SCRIPTS.values() else name


def typed_name(subcommand: str) -> str:
    """Return the name by which a sentence calls a subcommand: `sweep.py`, or else what `typed_command` returns."""
    started = Path(sys.argv[0])
    if started.name in _SCRIPTS.values() and subcommand in _SCRIPTS:
        return _SCRIPTS[subcommand]
    if started.parts[-2:] == ("ioi_lab", "__main__.py"):
        return f"python -m ioi_lab {subcommand}"
    if started.parts[-3:] == ("ioi_lab", subcommand, "__main__.py"):
        return f"python -m ioi_lab.{subcommand}"
    return f"{PROGRAM} {subcommand}"


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one line, which names the nearest choice."""

    @override
    def error(self, message: str) -> NoReturn:
        line = message
        if match := re.fullmatch(r"argument ([^:]+): invalid choice: '(.*)' \(choose from (.*)\)", message):
            choices = [choice.strip(" '") for choice in match[3].split(",")]
            hint = did_you_mean(match[2], choices)
            line = f"{match[1]}: got {match[2]!r}{hint}, expected one of {', '.join(choices)}"
        self.exit(2, f"error: {line}; {self.prog} --help says more\n")
