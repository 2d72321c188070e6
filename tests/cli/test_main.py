"""`ioi-lab` and its table of subcommands."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

import ioi_lab
from ioi_lab.cli import main as main_module
from ioi_lab.cli.main import SUBCOMMANDS, Subcommand, main, run_script


@pytest.fixture
def ioi_lab_command(monkeypatch, capsys):
    """Types a command line: its outputs, or the line with which it ends."""
    monkeypatch.setattr(main_module, "end_on_signals", lambda: None)  # signals belong to the tests

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["/bin/ioi-lab", *words])
        main()
        return capsys.readouterr().out

    return run


def test_each_subcommand_is_a_function_without_arguments():
    for subcommand in SUBCOMMANDS.values():
        assert callable(getattr(import_module(subcommand.module), subcommand.function))


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_each_subcommand(ioi_lab_command, words):
    lines = ioi_lab_command(*words).splitlines()
    assert [name for name in SUBCOMMANDS if any(line.startswith(f"  {name} ") for line in lines)] == [*SUBCOMMANDS]
    assert max(map(len, lines)) <= 100


def test_version(ioi_lab_command):
    assert ioi_lab_command("--version") == f"ioi-lab {ioi_lab.__version__}\n"


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "swep",
            "swep: no such command (did you mean sweep?); expected one of " + ", ".join(SUBCOMMANDS),
        ),
        ("model=tiny-gpt2", "model=tiny-gpt2: no such command; write ioi-lab sweep model=tiny-gpt2"),
        ("-m", "-m: no such command; write ioi-lab sweep -m"),
        ("x\x1b[1m", r"x\x1b[1m: no such command; expected one of " + ", ".join(SUBCOMMANDS)),
    ],
)
def test_what_is_no_subcommand_is_one_line(ioi_lab_command, word, line):
    with pytest.raises(SystemExit) as ended:
        ioi_lab_command(word)
    assert ended.value.code == f"error: {line}"


def test_a_subcommand_gets_the_words_after_it(ioi_lab_command, monkeypatch):
    assert "the answer to prompt" in ioi_lab_command("info", "task=ioi")
    seen = []
    monkeypatch.setattr(main_module, "SUBCOMMANDS", {"sweep": Subcommand(__name__, "spy", "")})
    monkeypatch.setattr(sys.modules[__name__], "spy", lambda: seen.append(sys.argv), raising=False)
    ioi_lab_command("sweep", "-m", "seed=1,2")
    monkeypatch.setattr(sys, "argv", ["sweep.py", "seed=3"])
    run_script("sweep")
    assert seen == [["/bin/ioi-lab", "-m", "seed=1,2"], ["sweep.py", "seed=3"]]
