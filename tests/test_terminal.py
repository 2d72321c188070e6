"""Whatever a text holds, a terminal shows it and obeys nothing in it."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ioi_lab import terminal
from ioi_lab.cli.multirun import Multirun
from ioi_lab.terminal import PrintableFormatter, print_early_logs_as_text, printable, say

OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""Control characters but tab and line end, bidirectional marks and overrides, invisible ones, and surrogates."""

ATTACKS = {
    "\x1b[2J\x1b[H": r"\x1b[2J\x1b[H",  # clear the screen
    "\x1b]0;title\x07": r"\x1b]0;title\x07",  # set the window's title
    "\x1b]8;;http://evil\x1b\\here\x1b]8;;\x1b\\": r"\x1b]8;;http://evil\x1b\here\x1b]8;;\x1b" "\\",  # a hidden link
    "\x9b31m": r"\x9b31m",  # the same as ESC [ in one character
    "done\rfailed": r"done\rfailed",
    "a\x08b": r"a\x08b",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\u2066a\u2069": r"\u2066a\u2069",
    "\x00": r"\x00",
    "\udc80": r"\udc80",
    "\U000e0041": r"\U000e0041",  # an invisible tag
}
PLAIN = ["Mary gave a drink to", "Zoë · 日本 ü ﷺ", "a\tb\nc", "👩\u200d🔬 می\u200cخواهم", "\u00a0", "back\\slash"]


@pytest.mark.parametrize(("text", "shown"), ATTACKS.items())
def test_escape_sequences_become_visible(text, shown):
    assert printable(f"a {text} b") == f"a {shown} b"


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_stay(text):
    assert printable(text) == text


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=[])))
@example("".join(ATTACKS))
def test_no_text_reaches_the_terminal_unseen(text):
    """Neither by a printed line nor by a log; what is printed can be encoded, and is printed the same way again."""
    stream, log = io.StringIO(), io.StringIO()
    say(text, file=stream)
    handler = logging.StreamHandler(log)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    handler.handle(logging.LogRecord("a", logging.INFO, "a.py", 1, "%s", (text,), None))
    for written in (stream.getvalue(), log.getvalue()):
        assert not OBEYED.search(written)
        assert written.encode().decode() == written
        assert written == printable(text) + "\n" == printable(printable(text)) + "\n"


def test_an_error_in_a_log_is_printable_too():
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "a.py", 1, "failed", (), sys.exc_info())
    text = PrintableFormatter("%(message)s").format(record)
    assert "ValueError: \\x1b[2J" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\u202eb"])
def test_a_command_prints_names_and_errors_as_visible_text(sweep, tmp_path, name):
    """Errors quote what was typed; folders and their runs are listed by name."""
    line = sweep(f"task.path={name}", "task=pairs", "tracker=none").err
    assert not OBEYED.search(line), line
    assert printable(name) in line


def test_what_is_logged_without_a_configuration_is_printable(capsys, monkeypatch):
    """As by `python -m ioi_lab.runs`, which warns of damaged folders by name."""
    monkeypatch.setattr(logging, "lastResort", logging._StderrHandler(logging.WARNING))
    print_early_logs_as_text()
    logging.lastResort.handle(logging.LogRecord("a", logging.WARNING, "a.py", 1, "%s", ("\x1b[2J",), None))
    assert capsys.readouterr().err == "\\x1b[2J\n"


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self):
        return True


def last_line(written):
    """The last line as a terminal shows it: each carriage return writes over what is there."""
    line = ""
    for part in written.rpartition("\n")[2].split("\r"):
        line = part + line[len(part) :]
    return line.rstrip()


def test_a_bar_appears_after_a_second_on_a_terminal_only(monkeypatch):
    seen = {}
    for name, stream, delay in (("slow", Terminal(), 0.0), ("fast", Terminal(), 60.0), ("log", io.StringIO(), 0.0)):
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr(terminal, "_DELAY", delay)
        with terminal.progress_bar(4, "edits × prompts", initial=1) as bar:
            bar.update(1)
            if delay == 0:
                bar.refresh()
        seen[name] = stream.getvalue()
    assert "edits × prompts:  50%" in seen["slow"]
    assert seen["fast"] == seen["log"] == ""
    with terminal.progress_bar(4, "a part", is_shown=False) as bar:
        assert bar.disable


def test_the_bar_of_an_interrupted_generator_is_gone_before_the_end_is_printed(monkeypatch):
    """Its frame, and with it the bar, is kept by the traceback of the interruption."""

    def numbers():
        with terminal.progress_bar(4, "reading", unit="text") as bar:
            for number in range(4):
                yield number
                bar.update()

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(terminal, "_DELAY", 0.0)
    suspended = numbers()
    for _ in range(3):
        next(suspended)
    assert last_line(stream.getvalue()).startswith("reading: ")
    Multirun.print_end("interrupted")
    assert stream.getvalue().endswith("interrupted\n")
    assert last_line(stream.getvalue().removesuffix("\n")) == "interrupted"
    suspended.close()
    assert last_line(stream.getvalue()) == ""
