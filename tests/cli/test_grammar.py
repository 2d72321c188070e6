"""Mistakes that people type, and the line that says what to type instead."""

from __future__ import annotations

import pytest

from ioi_lab.cli.grammar import unreadable

LAYER = "intervention.layer"
SPLIT = [
    ([f"{LAYER}=[0,", "1]"], f"{LAYER}: got '[0, 1]' in 2 words; write it in quotes for the shell: '{LAYER}=[0,1]'"),
    ([f"{LAYER}=[0,", "1,", "2]", "seed=1"], f"'{LAYER}=[0,1,2]'"),
    (["task.prompt='When", "Mary'"], "task.prompt: "),
    ([f"{LAYER}", "=", "3"], f"{LAYER}: write {LAYER}=3, without spaces around '='"),
    ([f"{LAYER}=", "=3"], "=3: has no key; write key=3"),
    (["task.n = 8"], "task.n = 8: write task.n=8, without spaces around '='"),
    (["name=a", "b"], "b: has no value; write b=VALUE"),
    (["a,b"], "a,b: is not key=value; if a space has split it from the word before, quote both together"),
]
BRACKETS = [
    ([f"{LAYER}=[0,1"], f"{LAYER}: got '[0,1', in which ']' is missing; write '{LAYER}=[0,1]'"),
    ([f"{LAYER}=0,1]"], f"{LAYER}: got '0,1]', in which a bracket is closed that was not opened"),
    ([f"{LAYER}=(0,1)"], f"{LAYER}: got '(0,1)'; write a list in square brackets and quotes: '{LAYER}=[0,1]'"),
    (["name=a(b"], "name: got 'a(b', with characters that mean something to Hydra"),
    (["name=x(1) y"], "'name=\"x(1) y\"'"),
    (["name={a"], "name: got '{a', in which '}' is missing; write 'name={a}'"),
    (["model.name=[a"], "model.name: got '[a', in which ']' is missing"),
    (["intervention.component='z"], "in which a quote is not closed; write 'intervention.component=\"z\"'"),
    (['intervention.component="z'], "in which a quote is not closed; write 'intervention.component=\"z\"'"),
]
NO_VALUE = [
    (["model=tiny-gpt2", "#", "a", "comment"], "#: '#' starts no comment here; leave it and the words after it away"),
    (["#comment"], "#comment: '#' starts no comment here"),
    ([LAYER], f"{LAYER}: has no value; write {LAYER}=VALUE"),
    ([f"{LAYER}:3"], f"{LAYER}:3: is not key=value; write {LAYER}=3"),
    (["seed 3"], "seed 3: is not key=value; write seed=3"),
    ([f"{LAYER}==3"], f"{LAYER}: got '=3'; write one '=' only: {LAYER}=3"),
    (["=3"], "=3: has no key; write key=3"),
    (["tiny-gpt2"], "tiny-gpt2: is not key=value; write model=tiny-gpt2"),
    (["patch"], "patch: is not key=value; write intervention=patch"),
    (["model/tiny-gpt2"], "model/tiny-gpt2: is not key=value; write model=tiny-gpt2"),
]
FLAGS = [
    (["--multirun=true"], "--multirun=true: this flag takes no value; write --multirun"),
    (["--multi-run"], "--multi-run: no such flag (did you mean --multirun?)"),
    (["-M", "seed=1,2"], "-M: no such flag (did you mean -m?)"),
    (["--intervention.layer=3"], "--intervention.layer=3: no such flag; a config key has no dashes: write inter"),
    (["intervention=patch", "--layers"], "--layers: no such flag; a config key is set with key=value"),
    (["-layer"], "-layer: no such flag"),
    (
        ["model=[tiny-gpt2,tiny-pythia]"],
        "model: got '[tiny-gpt2,tiny-pythia]', but it takes one option; write",
    ),
    (["hydra.launcher=batch"], "hydra.launcher: got 'batch', but this is a config group; write hydra/launcher=batch"),
]


@pytest.mark.parametrize(("words", "line"), [*SPLIT[3:], *BRACKETS, *NO_VALUE, *FLAGS, *SPLIT[:2]])
def test_what_cannot_be_read_ends_in_a_line_that_says_what_to_type(typed_line, words, line):
    assert line in typed_line(*words)


@pytest.mark.parametrize("program", ["sweep", "train_align"])
def test_both_programs_explain(typed_line, program):
    assert typed_line("name=[a", program=program) == "name: got '[a', in which ']' is missing; write 'name=[a]'"


def test_a_value_in_quotes_keeps_its_spaces():
    line = unreadable("task.prompt='When", ["task.prompt='When", "Mary", "and'", "seed=1"])
    assert line.endswith("in 3 words; write it in quotes for the shell: 'task.prompt='When Mary and''")
