from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import wandb

from ioi_lab.runs import wandb_mode
from ioi_lab.runs.wandb_mode import ModeOfRun, forget_server, mode_of_run, record_unreachable
from tests.runs.conftest import SECRET


@pytest.fixture
def asked(monkeypatch):
    """The number of times that the server was asked; it accepts the login."""
    times = []
    monkeypatch.setattr(wandb_mode, "_ask_server", lambda: times.append(1))
    return times


def test_mode_without_a_login(no_login):
    assert mode_of_run("auto", None) == ModeOfRun("offline", "no key or login found")
    assert mode_of_run("offline", None) == ModeOfRun("offline", "tracker.mode=offline")


def test_mode_with_a_login(monkeypatch, no_login, asked):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    assert mode_of_run("auto", None) == ModeOfRun("online", "logged in")
    assert mode_of_run("online", None) == ModeOfRun("online", "tracker.mode=online")
    assert len(asked) == 2


def test_a_malformed_key_is_no_login(monkeypatch, no_login):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    assert mode_of_run("auto", None).mode == "offline"


@pytest.mark.parametrize(
    ("variable", "value", "wanted", "mode"),
    [
        ("WANDB_MODE", "offline", "auto", "offline"),
        ("WANDB_MODE", "dryrun", "auto", "offline"),
        ("WANDB_MODE", "offline", "online", "online"),  # what is typed goes before the environment
        ("WANDB_MODE", "disabled", "auto", "disabled"),
        ("WANDB_MODE", "disabled", "online", "disabled"),  # except where it switches W&B off
        ("WANDB_DISABLED", "true", "auto", "disabled"),
        ("WANDB_DISABLED", "1", "offline", "disabled"),
        ("WANDB_DISABLED", "True", "online", "disabled"),
        ("WANDB_DISABLED", "false", "auto", "online"),
        ("WANDB_DISABLED", "", "auto", "online"),
    ],
)
def test_the_environment(monkeypatch, no_login, asked, variable, value, wanted, mode):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv(variable, value)
    got = mode_of_run(wanted, None)
    assert got.mode == mode
    assert got.reason == f"{variable}={value}" or got.mode == "online"


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_the_mode_that_is_set_on_this_machine(monkeypatch, no_login, tmp_path, mode):
    """As by `wandb offline` and `wandb disabled`."""
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    (tmp_path / "settings").write_text(f"[default]\nmode = {mode}\n")
    assert mode_of_run("auto", None) == ModeOfRun(mode, f"set by `wandb {mode}`")


def test_a_server_that_does_not_answer_makes_a_sweep_offline(monkeypatch, no_login, tmp_path):
    """Nothing listens at this address, which W&B tries to reach until its time is over."""
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb_mode, "SECONDS_FOR_LOGIN", 1)
    assert mode_of_run("auto", tmp_path) == ModeOfRun("offline", "no answer from http://127.0.0.1:9 in 1 s")
    monkeypatch.setattr(wandb_mode, "_ask_server", None)  # is not called
    for wanted in ("auto", "online"):
        assert mode_of_run(wanted, tmp_path) == ModeOfRun("offline", "no answer from http://127.0.0.1:9 in 1 s")


def test_a_server_is_asked_once_per_sweep(monkeypatch, no_login, asked, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    with ThreadPoolExecutor(8) as jobs:
        modes = list(jobs.map(lambda _: mode_of_run("auto", tmp_path), range(16)))
    assert modes == 16 * [ModeOfRun("online", "logged in")]
    assert len(asked) == 1
    record_unreachable(tmp_path, "it broke off")
    assert mode_of_run("auto", tmp_path) == ModeOfRun("offline", "it broke off")
    for content in ("{", "[]", "{}"):
        (tmp_path / "wandb_server.json").write_text(content)
        assert mode_of_run("auto", tmp_path).mode == "online"
    for _ in range(2):
        forget_server(tmp_path)
    assert mode_of_run("auto", tmp_path).mode == "online"
    assert json.loads((tmp_path / "wandb_server.json").read_text()) == {"unreachable": None}
    assert len(asked) == 5
    record_unreachable(None, "a run alone has no later ones")


def test_the_reason_of_the_server_is_reported(monkeypatch, no_login):
    def refuse(timeout):
        raise wandb.errors.AuthenticationError("Failed to verify credentials:\nnope")

    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setattr(wandb, "Api", refuse)
    assert mode_of_run("auto", None) == ModeOfRun("offline", "Failed to verify credentials: nope")
