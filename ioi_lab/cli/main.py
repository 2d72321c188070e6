"""The command `ioi-lab`: a table of subcommands, each of which is imported when it is typed.

Imports nothing that takes long, so that `ioi-lab --help` and a misspelt subcommand are answered at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final, NoReturn

from ioi_lab.cli.completion import FLAGS as COMPLETION
from ioi_lab.cli.completion import complete
from ioi_lab.cli.signals import end_on_signals
from ioi_lab.errors import did_you_mean
from ioi_lab.programs import PROGRAM, VERSION


@dataclass(frozen=True)
class Subcommand:
    """A subcommand: the function without arguments that reads `sys.argv`, and a line for `--help`."""

    module: str
    function: str
    help: str


SUBCOMMANDS: Final = {
    "sweep": Subcommand("ioi_lab.cli.sweep", "run", "run an experiment, or with -m a grid of them"),
    "study": Subcommand("ioi_lab.cli.study", "run", "ask how a model does a task: a whole pipeline, and its report"),
    "align": Subcommand("ioi_lab.cli.train_align", "run", "fit maps between two models' residual streams"),
    "runs": Subcommand("ioi_lab.runs.__main__", "main", "list runs, compare two of them, or summarize a sweep"),
    "dashboard": Subcommand("ioi_lab.dashboard.command", "main", "look at runs in the browser, on this machine alone"),
    "info": Subcommand("ioi_lab.cli.info", "main", "list options, and every key of one with its default and meaning"),
    "new": Subcommand("ioi_lab.cli.new", "main", "write the template of a task or an intervention of your own"),
    "tiny": Subcommand("ioi_lab.tiny.__main__", "main", "train the packaged models again, or score them"),
}

_HELP: Final = """\
{version}: causal experiments on language models

usage: {program} COMMAND ...

{commands}

`{program} COMMAND --help` says more about each. Start with: {program} sweep model=tiny-gpt2
Runs land in runs/ of the current folder; config groups of your own come from its conf/."""


def main() -> None:
    """Run the subcommand that was typed; a mistake ends with one line and exit code 1."""
    end_on_signals()
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(help_text())
    elif arguments[0] == "--version":
        print(f"{PROGRAM} {VERSION}")
    elif arguments[0].partition("=")[0] in COMPLETION:
        complete(arguments, list(SUBCOMMANDS), run)
    elif arguments[0] in SUBCOMMANDS:
        run(arguments[0], arguments[1:])
    else:
        _end(unknown(arguments[0]))


def run_script(subcommand: str) -> None:
    """Run a subcommand whose arguments follow the name of a script: `python sweep.py …`."""
    end_on_signals()
    run(subcommand, sys.argv[1:])


def run(subcommand: str, arguments: Sequence[str]) -> None:
    """Run a subcommand with these arguments."""
    sys.argv[1:] = arguments
    chosen = SUBCOMMANDS[subcommand]
    getattr(import_module(chosen.module), chosen.function)()


def help_text() -> str:
    """Return the answer to `ioi-lab --help`."""
    width = max(map(len, SUBCOMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{subcommand.help}" for name, subcommand in SUBCOMMANDS.items())
    return _HELP.format(version=f"{PROGRAM} {VERSION}", program=PROGRAM, commands=commands)


def unknown(word: str) -> str:
    """Return the line for a word that is no subcommand: the nearest one, or the command that takes such words."""
    if close := did_you_mean(word, SUBCOMMANDS):
        return f"{word}: no such command{close}; expected one of {', '.join(SUBCOMMANDS)}"
    if "=" in word or word in ("-m", "--multirun"):
        return f"{word}: no such command; write {PROGRAM} sweep {word}"
    return f"{word}: no such command; expected one of {', '.join(SUBCOMMANDS)}"


def _end(line: str) -> NoReturn:
    from ioi_lab.terminal import printable

    sys.exit(f"error: {printable(line)}")
