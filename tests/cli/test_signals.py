"""Real signals, to this process and to small ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from ioi_lab.cli import signals
from ioi_lab.cli.signals import SIGNALS, Interruption, check_not_interrupted, interruptible

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
LINES = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "interrupted by SIGTERM",
    signal.SIGHUP: "interrupted by SIGHUP",
}


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def interrupted(work) -> tuple[object, list[str]]:
    """The exit code of `work`, and what the user is told."""
    told: list[str] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with pytest.raises(SystemExit) as end, interruptible(told.append):
        work()
    assert {number: signal.getsignal(number) for number in SIGNALS} == before
    return end.value.code, told


@pytest.mark.parametrize("number", CODES)
def test_every_signal_ends_with_its_code_and_one_line(number):
    assert interrupted(lambda: send(number)) == (CODES[number], [LINES[number]])


def test_notes_are_told():
    def work():
        try:
            send(signal.SIGTERM)
        except Interruption as interruption:
            interruption.add_note("runs/a is not done")
            raise

    assert interrupted(work) == (143, ["interrupted by SIGTERM; runs/a is not done"])


def test_the_same_signal_twice_does_not_disturb_what_the_first_one_began(monkeypatch):
    done = []

    def work():
        try:
            send(signal.SIGINT)
        finally:
            send(signal.SIGINT)
            done.append("left in order")

    assert interrupted(work) == (130, ["interrupted"])
    assert done == ["left in order"]


def test_a_later_signal_ends_what_takes_too_long(monkeypatch):
    monkeypatch.setattr(signals, "_SAME_SIGNAL_S", 0.0)
    done = []

    def work():
        try:
            send(signal.SIGINT)
        finally:
            send(signal.SIGTERM)
            done.append("too late")

    assert interrupted(work) == (143, ["interrupted by SIGTERM"])
    assert done == []


def test_a_signal_that_a_library_swallows_is_sent_again(monkeypatch):
    monkeypatch.setattr(signals, "_SAME_SIGNAL_S", 0.01)
    monkeypatch.setattr(signals, "_AGAIN_S", 0.05)

    def work():
        try:
            send(signal.SIGTERM)
        except BaseException:
            time.sleep(30)

    assert interrupted(work) == (143, ["interrupted by SIGTERM"])


def test_an_error_that_an_interruption_has_become_is_told_as_an_interruption():
    def work(checked=False):
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt:
            error = ImportError("numpy.core.multiarray failed to import")
            check_not_interrupted(error)
            raise error from None

    assert interrupted(work) == (130, ["interrupted"])
    check_not_interrupted(ImportError())  # outside, it is what it is


def test_an_interruption_of_python_itself_counts_too():
    def work():
        raise KeyboardInterrupt

    assert interrupted(work) == (130, ["interrupted"])


def test_other_ends_pass():
    with pytest.raises(SystemExit, match="3"), interruptible(pytest.fail):
        sys.exit(3)
    with pytest.raises(ValueError, match="a bug"), interruptible(pytest.fail):
        raise ValueError("a bug")


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible(pytest.fail):
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


SCRIPT = """
import atexit, signal, sys, threading, time
from ioi_lab.cli.signals import end_on_signals, interruptible
end_on_signals()
def wait(where):
    print(where, flush=True)
    time.sleep(30)
where = sys.argv[1]
if where == "imports":
    wait(where)
with interruptible(lambda line: print(line, file=sys.stderr)):
    threading.Thread(target=time.sleep, args=(30,)).start()  # as that of a download
    if where == "work":
        wait(where)
    if where == "exit":
        atexit.register(wait, where)
if where == "exit":
    import os
    threading._shutdown = lambda: None
"""


@pytest.mark.parametrize("where", ["imports", "work", "exit"])
def test_a_program_ends_at_once_wherever_it_is(where):
    program = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == f"{where}\n"
    program.send_signal(signal.SIGTERM)
    _, err = program.communicate(timeout=10)
    assert (program.returncode, err) == (143, "interrupted by SIGTERM\n")
