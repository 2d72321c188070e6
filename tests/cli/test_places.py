"""Keys in the wrong place, of the wrong program, or set by a preset."""

from __future__ import annotations

import pytest

from ioi_lab.cli.places import instead_of
from tests.cli.typed import TypedLine

KEYS = [
    (["layer=3"], "layer: no such key; write intervention.layer=3"),
    (["n=4"], "n: no such key; write task.n=4"),
    (["layers=3"], "layers: no such key (did you mean intervention.layer?)"),
    (["interventon=patch"], "interventon: no such key (did you mean intervention?)"),
    (["intervention.layr=3"], "intervention.layr: no such key (did you mean intervention.layer?)"),
    (
        ["intervention.scale=3"],
        "this is a key of intervention=logit_lens or intervention=steer or inter",
    ),
    (["patch.layer=3"], "patch.layer: no such key; write intervention=patch intervention.layer=3"),
    (["~foo"], "~foo: no such key"),
    (["+intervention.layer=3"], "+intervention.layer: the config has this key already; leave the + away: interv"),
    (["+model=tiny-gpt2"], "+model: the config has this key already; leave the + away: model=tiny-gpt2"),
    (["+intervention.foo=3"], "intervention.foo: no such key"),
    (["++layer=3"], "layer: no such key"),
    (["name=${x}"], "name: got ${x}, but the config has no key 'x'"),
]
VALUES = [
    (["intervention=pach"], "intervention: got 'pach' (did you mean patch?), expected one of ablate, "),
    (["model="], "model: got '', expected one of folder, "),
    (["hydra/launcher=bach"], "hydra/launcher: got 'bach' (did you mean batch?)"),
    (["intervention.layer="], "intervention.layer: got '', expected 'all' or"),
    (["task.n=1,2"], "task.n: got '1,2'; write a list as 'task.n=[1,2]', or add -m for one run per value"),
    (["task.n=abc"], "task.n: got 'abc', expected a valid integer"),
]
MODELS = [
    (["model@source=x"], "model@source: no such key; write model@intervention.source=x, with intervention=transfer"),
    (["model@intervention.source=x"], "model@intervention.source: this goes with intervention=transfer only; add it"),
    (
        ["intervention=transfer", "model@intervention.source=tiny-gpt3"],
        "model@intervention.source: got 'tiny-gpt3' (did you mean tiny-gpt2?), expected one of folder, ",
    ),
    (["intervention=transfer", "intervention.source=x"], "; write model@intervention.source=x"),
    (["lens=tuned"], "lens: no such key; write lens@intervention.lens=tuned, with intervention=logit_lens"),
]
PRESETS = [
    (["experiment=nothing"], "experiment: got 'nothing', expected one of cross_model, "),
    (
        ["experiment=steering_scales", "intervention=patch"],
        "intervention.scale: no such key, but experiment=steering_scales sets it, which does not go with interv",
    ),
]
PROGRAMS = [
    (["intervention.layer=3"], "intervention.layer: this is a key of sweep.py; train_align.py has source, target, "),
    (["model=tiny-gpt2"], "model: no such key; write model@source=tiny-gpt2 or model@target=tiny-gpt2"),
    (["source=tiny-gpt2"], "source: got 'tiny-gpt2', expected a valid dictionary; write model@source=tiny-gpt2"),
]


@pytest.mark.parametrize(("words", "line"), [*KEYS, *VALUES, *MODELS, *PRESETS])
def test_a_wrong_key_or_option_ends_in_a_line_that_names_the_right_one(typed_line: TypedLine, words, line):
    assert line in typed_line(*words)


@pytest.mark.parametrize(("words", "line"), PROGRAMS)
def test_keys_of_the_other_program_are_named_as_such(typed_line: TypedLine, words, line):
    assert line in typed_line(*words, program="train_align")


def test_keys_of_the_alignment_are_no_keys_of_a_sweep(typed_line: TypedLine):
    assert "this is a key of train_align.py; sweep.py has model, " in typed_line("alignment.method=ridge")


def test_the_group_of_a_place():
    assert instead_of("intervention.source") == "model@intervention.source"
    assert instead_of("target") == "model@target"
    assert instead_of("task") is None
