"""A task and an intervention of one's own: one file and one YAML each, and nothing else changes.

Vector methods and contrasts are added in `tests/interventions/steer/`, map methods in `tests/alignment/`, lenses in
`tests/lenses/`.
"""

from __future__ import annotations

import json

import pandas as pd
import pytest

from tests.conftest import only_run_folder

INTERVENTION = '''
"""Halve the output of each head."""

from typing import ClassVar

from ioi_lab.engine.edits import Edit
from ioi_lab.interventions.grid import GridIntervention


class Halve(GridIntervention):
    name: str = "halve"
    factor: float = 0.5
    title: ClassVar[str] = "halve z"
    action: ClassVar[str] = "Halving"
    base: ClassVar[str] = "clean"

    @property
    def details(self):
        return f"times {self.factor}"

    def plan(self, rows, engine):
        return [[Edit(site, "scale", scale=self.factor) for site in row.sites] for row in rows]
'''
TASK = '''
"""Prompts about capitals."""

from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task


class Greetings(Task):
    name: str = "greetings"
    greeting: str = "Then"

    def prompt_pairs(self, tokens):
        pairs = [("Mary", "John"), ("James", "Robert")]
        return PromptPairs([
            PromptPair.build(
                tokens,
                f"{self.greeting} {one} and {other} went to the store, {other} gave a drink to",
                f"{self.greeting} {one} and {other} went to the store, {one} gave a drink to",
                f" {one}",
                f" {other}",
            )
            for one, other in pairs
        ])
'''


@pytest.fixture
def own_parts(tmp_path, monkeypatch):
    """A folder on Python's path with the two files, and one with their YAMLs."""
    (tmp_path / "own_halve.py").write_text(INTERVENTION)
    (tmp_path / "own_greetings.py").write_text(TASK)
    for group, name, yaml in (
        ("intervention", "halve", "_target_: own_halve.Halve\nname: halve\nfactor: 0.5\nlayer: all\n"),
        ("task", "greetings", "_target_: own_greetings.Greetings\nname: greetings\ngreeting: Then\n"),
    ):
        (tmp_path / "own_conf" / group).mkdir(parents=True)
        (tmp_path / "own_conf" / group / f"{name}.yaml").write_text(yaml)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("IOI_LAB_PLUGINS", "own_halve,own_greetings")
    return f"hydra.searchpath=[file://{tmp_path / 'own_conf'}]"


def test_an_intervention_and_a_task_of_ones_own(sweep, tmp_path, own_parts):
    outcome = sweep(
        own_parts, "tracker=none", "intervention=halve", "task=greetings", "intervention.factor=0.25", "name=own"
    )
    assert outcome.code == 0, outcome.err
    assert "halve z · tiny-gpt2 · greetings" in outcome.out
    folder = only_run_folder(tmp_path)
    assert len(pd.read_csv(folder / "results.csv")) == 16
    assert json.loads((folder / "metrics.json").read_text())["check_everything"] == pytest.approx(1, abs=1e-3)
    assert list((folder / "plots").glob("*.png"))
    again = sweep("--config-dir", str(folder), "--config-name", "config", "name=again")
    assert again.code == 0, again.err


def test_parts_of_ones_own_are_trusted_by_name(sweep, own_parts, monkeypatch):
    monkeypatch.setenv("IOI_LAB_PLUGINS", "own_greetings")
    line = sweep(own_parts, "tracker=none", "intervention=halve", "task=greetings").error_line
    assert line.startswith("error: intervention._target_: got 'own_halve.Halve', expected a name in ioi_lab, or in a ")
    assert line.endswith("(export IOI_LAB_PLUGINS=own_halve)")


def test_a_mistake_in_ones_own_part_is_one_line(sweep, own_parts):
    outcome = sweep(own_parts, "tracker=none", "intervention=halve", "intervention.factor=much")
    assert outcome.error_line == "error: intervention.factor: got 'much', expected a valid number"
