"""Keywords become the overrides of the command line, and Hydra reads every value as it was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ioi_lab.errors import LabError
from ioi_lab.python.overrides import Grid, grid, overrides_of


def made(*words, root="sweep", sweeps=False, **keywords):
    return overrides_of(words, keywords, root, sweeps=sweeps)


def test_a_text_picks_an_option_and_a_dictionary_sets_keys():
    assert made(model="tiny-gpt2", task={"n": 32}) == ["model=tiny-gpt2", "task.n=32"]
    assert made("model=tiny-gpt2", intervention={"name": "steer", "layer": [0, 3]}, seed=1) == [
        "model=tiny-gpt2",
        "intervention=steer",
        "intervention.layer=[0,3]",
        "seed=1",
    ]
    assert made(experiment=None, stats={"over": "sentences"}) == ["experiment=null", "stats.over=sentences"]
    assert made(**{"model@intervention.source": "tiny-pythia"}) == ["model@intervention.source=tiny-pythia"]


def test_an_alignment_has_two_models():
    assert made(root="train_align", source="tiny-gpt2", target={"dtype": "float16"}) == [
        "model@source=tiny-gpt2",
        "target.dtype=float16",
    ]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text().filter(lambda text: "${" not in text),
    lambda parts: st.lists(parts, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(VALUES)
def test_hydra_reads_a_value_as_it_was_given(value):
    (override,) = overrides_of((), {"name": value}, "sweep")
    parsed = OverridesParser.create().parse_override(override)
    assert OmegaConf.to_container(OmegaConf.create([parsed.value()]), resolve=False) == [value]


def test_numbers_of_numpy_and_paths_are_plain_values():
    values = {"scale": np.arange(3) / 2, "layer": np.int64(3), "maps": Path("runs/a b"), "names": ("9.9", "1")}
    assert made(intervention=values) == [
        "intervention.scale=[0.0,0.5,1.0]",
        "intervention.layer=3",
        'intervention.maps="runs/a b"',
        'intervention.names=["9.9","1"]',
    ]


def test_a_grid_is_tried_value_by_value():
    assert made(model=grid("tiny-gpt2", "tiny-pythia"), intervention={"layer": grid(range(3))}, sweeps=True) == [
        "model=tiny-gpt2,tiny-pythia",
        "intervention.layer=0,1,2",
    ]
    assert grid([0, 1]) == grid(0, 1) == Grid((0, 1))
    assert grid([0, 1], [2]) == Grid(([0, 1], [2]))


@pytest.mark.parametrize(
    ("words", "keywords", "line"),
    [
        ((3,), {}, "got 3, expected an override such as 'task.n=32', or a keyword such as task={'n': 32}"),
        (("-m",), {}, "-m: a flag of the command line; expected an override such as 'task.n=32'"),
        (("seed=1",), {"seed": 2}, "seed: is given twice"),
        ((), {"model": 3}, "model: got 3, expected the name of an option, or a dictionary of keys with their values"),
        (
            (),
            {"seed": {1}},
            "seed: got an object of set, expected a number, a text, True, False, None, or a list or a dictionary of "
            "them",
        ),
        (
            (),
            {"intervention": {"layer": grid(0, 1)}},
            "intervention.layer: got a grid of 2 values, but lab.run makes one run; use lab.sweep",
        ),
    ],
)
def test_a_mistake_is_one_line(words, keywords, line):
    with pytest.raises(LabError) as error:
        overrides_of(words, keywords, "sweep")
    assert str(error.value) == line


def test_an_empty_grid_is_a_mistake():
    with pytest.raises(LabError, match="grid: got no values"):
        grid()
