"""`python -m ioi_lab.tiny`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from ioi_lab.tiny import plant, scoring, tiny_folder, train
from ioi_lab.tiny.__main__ import main
from ioi_lab.tiny.corpus import sentences
from ioi_lab.tiny.tasks_corpus import text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["tiny", *arguments])
        main()
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--steps", "3"], "--steps needs --out"),
        (["--steps", "0", "--out", "x"], "--steps: got 0, expected 1 or more"),
        (["--out", str(ROOT)], "expected a new folder or that of a tiny model"),
    ],
)
def test_mistakes_on_the_command_line_are_reported(command, capsys, arguments, line):
    with pytest.raises(SystemExit) as end:
        command("train", "tiny-gpt2", *arguments)
    assert end.value.code == 2
    assert line in capsys.readouterr().err.splitlines()[-1]


def test_a_packaged_model_is_scored(command, monkeypatch):
    monkeypatch.setattr(scoring, "score", partial(scoring.score, candidates=500))
    printed = command("score", "tiny-pythia").splitlines()
    assert [line.split(":")[0] for line in printed] == ["ABBA", "BABA"]
    assert all("accuracy 1.0000, P(answer) 0.9" in line for line in printed)


@pytest.mark.parametrize(("arguments", "folder"), [([], tiny_folder("tiny-gpt2")), (["--out", "a/b"], Path("a/b"))])
def test_training_replaces_the_packaged_model_unless_another_folder_is_given(
    command, monkeypatch, tmp_path, arguments, folder
):
    """The training itself is replaced."""
    monkeypatch.chdir(tmp_path)
    calls = []
    monkeypatch.setattr(
        train, "train", lambda *settings: calls.append(settings) or [scoring.Score("ABBA", 2, 1.0, 0.5)]
    )
    printed = command("train", "tiny-gpt2", "--seed", "3", *arguments)
    assert calls == [("tiny-gpt2", folder, 3, None)]
    assert printed == f"wrote {folder}\nABBA: accuracy 1.0000, P(answer) 0.5000, 2 prompts\n"


def test_a_planted_model_is_scored_and_made(command, monkeypatch, tmp_path):
    monkeypatch.setattr(plant, "claims", lambda name, folder: {"accuracy": 1.0, "circuit": 0.9996, "rest": -1e-4})
    printed = command("score", "planted-induction").splitlines()
    assert printed == ["accuracy: 1.000", "f of circuit: 1.000", "f of rest: 0.000"]
    calls = []
    monkeypatch.setattr(plant, "plant", lambda *settings: calls.append(settings) or {"accuracy": 0.5})
    folder = tmp_path / "new"
    assert command("train", "planted-or", "--steps", "7", "--out", str(folder)) == f"wrote {folder}\naccuracy: 0.500\n"
    assert calls == [("planted-or", folder, 0, 7)]


def test_sentences_are_printed(command):
    assert command("corpus", "4", "--seed", "2").splitlines() == sentences(4, 2)
    assert command("corpus", "4", "--seed", "2", "--model", "tiny-llama").splitlines() == sentences(4, 2, text)
