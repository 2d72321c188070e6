"""Completion of `ioi-lab` in bash and zsh."""

from __future__ import annotations

import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from ioi_lab.cli.completion import complete
from ioi_lab.cli.main import SUBCOMMANDS, run

QUERY = ["-sc", "query=bash"]


@pytest.fixture
def completed(monkeypatch, capsys, tmp_path):
    """The completions of a line."""
    monkeypatch.chdir(tmp_path)

    def ask(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setattr(sys, "argv", ["/bin/ioi-lab", *QUERY])
        GlobalHydra.instance().clear()
        complete(QUERY, list(SUBCOMMANDS), run)
        return capsys.readouterr().out.split()

    return ask


def test_subcommands(completed):
    assert completed("ioi-lab ") == [*SUBCOMMANDS]
    assert completed("ioi-lab s") == ["sweep", "study"]
    assert completed("ioi-lab runs l") == []
    assert completed("ioi-lab info mo") == ["model"]
    assert completed("ioi-lab info intervention=at") == ["intervention=attention", "intervention=attribution_patch"]


def test_groups_options_and_keys(completed):
    assert sorted(completed("ioi-lab sweep interv")) == ["intervention.", "intervention="]
    assert completed("ioi-lab sweep model=tiny") == ["model=tiny-gpt2", "model=tiny-llama", "model=tiny-pythia"]
    assert "intervention.scale=" in completed("ioi-lab sweep intervention=steer intervention.sc")
    assert completed("ioi-lab align corpus=t") == ["corpus=task", "corpus=text", "corpus=tiny_english"]


def test_installing_is_hydras_for_the_whole_program(monkeypatch):
    calls = []
    complete(["-sc", "install=bash"], list(SUBCOMMANDS), lambda name, words: calls.append((name, list(words))))
    assert calls == [("sweep", ["-sc", "install=bash"])]
