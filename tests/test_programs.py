"""Commands as they were typed."""

from __future__ import annotations

import sys

import pytest

from ioi_lab.programs import CommandParser, typed_command, typed_name

STARTED = [
    ("sweep.py", "python sweep.py", "python train_align.py", "ioi-lab runs"),
    ("/there/train_align.py", "python sweep.py", "python train_align.py", "ioi-lab runs"),
    ("/bin/ioi-lab", "ioi-lab sweep", "ioi-lab align", "ioi-lab runs"),
    ("/x/ioi_lab/__main__.py", "python -m ioi_lab sweep", "python -m ioi_lab align", "python -m ioi_lab runs"),
    ("/x/ipykernel_launcher.py", "ioi-lab sweep", "ioi-lab align", "ioi-lab runs"),
]


@pytest.mark.parametrize(("program", "sweep", "align", "runs"), STARTED)
def test_hints_repeat_how_the_program_was_started(monkeypatch, program, sweep, align, runs):
    monkeypatch.setattr(sys, "argv", [program, "x=1"])
    assert [typed_command(name) for name in ("sweep", "align", "runs")] == [sweep, align, runs]
    assert typed_name("sweep") == sweep.removeprefix("python ") if "sweep.py" in sweep else sweep


def test_the_module_of_a_room(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/ioi_lab/runs/__main__.py", "ls"])
    assert typed_command("runs") == "python -m ioi_lab.runs"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["trian"],
            "error: what: got 'trian' (did you mean train?), expected one of train, score; prog --help says more",
        ),
        ([], "error: the following arguments are required: what; prog --help says more"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, line):
    parser = CommandParser(prog="prog")
    parser.add_argument("what", choices=["train", "score"])
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [line]
