"""`ioi-lab info`: list the options of config groups, and every key of one with its default and its meaning."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ioi_lab.cli.config_files import Entry, groups, options_of, read_option
from ioi_lab.cli.grammar import option_named
from ioi_lab.cli.keys import rows_of
from ioi_lab.errors import LabError, did_you_mean
from ioi_lab.programs import CommandParser, typed_command
from ioi_lab.terminal import printable, say

SHOWN: Final = ("model", "task", "intervention", "experiment")
"""The groups whose options are listed without being asked for."""

_PRESETS: Final = ("experiment", "hparams_search")
_ROOT_OF: Final = {"sweep": "sweep", "align": "train_align", "study": "study"}
_INDENT: Final = "      "


def main() -> None:
    """Parse the command line and print the answer; a mistake ends with one line and exit code 1."""
    parser = CommandParser(prog=typed_command("info"), description=__doc__)
    parser.add_argument(
        "what", nargs="?", help="a config group (intervention), an option (intervention=steer), or a command (sweep)"
    )
    arguments = parser.parse_args()
    try:
        lines = list(answer(arguments.what, shutil.get_terminal_size((100, 24)).columns))
    except (LabError, OSError) as error:
        sys.exit(f"error: {printable(str(error))}")
    try:
        for line in lines:
            say(line)
    except BrokenPipeError:  # `| head`
        sys.stderr.close()


def answer(what: str | None, width: int = 100) -> Iterator[str]:
    """Yield the lines that answer `ioi-lab info` with this argument, or without one.

    Raises a `LabError` that names the nearest group or option for one that does not exist.
    """
    if what is None:
        yield from _overview(width)
    elif what in _ROOT_OF:
        yield from _keys("", _ROOT_OF[what], width)
    elif "=" in what:
        group, _, option = what.partition("=")
        group = group.partition("@")[0]
        yield from (_preset(group, option, width) if group in _PRESETS else _keys(group, option, width))
    elif what in groups():
        yield from _options(what, width)
    elif chosen := option_named(what):
        raise LabError(f"{what}: is an option; write {typed_command('info')} {chosen}")
    else:
        names = [*groups(), *_ROOT_OF]
        options = [option for group in groups() for option in options_of(group)]
        close = did_you_mean(what, names) or did_you_mean(what, options)
        raise LabError(f"{what}: no such config group or option{close}; expected one of {', '.join(names)}")


def _overview(width: int) -> Iterator[str]:
    for group in SHOWN:
        yield f"{group}="
        yield from _options(group, width)
        yield ""
    others = [name for name in groups() if name not in SHOWN]
    info = typed_command("info")
    yield f"every key of an option: {info} intervention=steer"
    yield f"other groups: {', '.join(f'{info} {name}' for name in others)}"
    yield f"the keys at the top of a command: {', '.join(f'{info} {name}' for name in _ROOT_OF)}"


def _options(group: str, width: int) -> Iterator[str]:
    names = options_of(group)
    column = max(map(len, names)) + 2
    for name in names:
        first = _first_sentence(read_option(group, name).description)
        yield f"  {name:<{column}}{textwrap.shorten(first, max(20, width - column - 2), placeholder=' …')}"


def _first_sentence(text: str) -> str:
    head, *rest = re.split(r"(?<!et al)\. ", text, maxsplit=1)
    return f"{head}." if rest else text


def _keys(group: str, option: str, width: int) -> Iterator[str]:
    rows = rows_of(group, option)
    yield from textwrap.wrap(read_option(group, option).description, width)
    for row in rows:
        yield f"  {row.key}={row.default}"
        yield from _wrapped(row.meaning, width)
        if row.accepts and not _says(row.meaning, row.accepts):
            yield from _wrapped(f"({row.accepts})", width)


def _says(meaning: str, accepts: str) -> bool:
    """Whether the meaning names each choice already."""
    return all(word.strip(",") in meaning.replace(",", " ").split() for word in accepts.split(", "))


def _wrapped(text: str, width: int) -> Sequence[str]:
    return textwrap.wrap(text, width, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _preset(group: str, option: str, width: int) -> Iterator[str]:
    """Yield the description of a preset and what it sets."""
    file = read_option(group, option)
    yield from textwrap.wrap(file.description, width)
    yield "  sets:"
    yield from (f"    {choice.group}={choice.option}" for choice in file.overrides)
    yield from (f"    {line}" for line in _set_values(file.entries, ""))


def _set_values(entries: Mapping[str, Entry], place: str) -> Iterator[str]:
    for key, entry in entries.items():
        full = f"{place}.{key}".lstrip(".")
        if entry.below:
            yield from _set_values(entry.below, full)
        else:
            yield f"{full}={entry.value}"
