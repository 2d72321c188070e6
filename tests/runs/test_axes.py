"""Which key is which axis."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from ioi_lab.runs.axes import MAX_LINES, Asked, chosen_axes
from ioi_lab.runs.measurements import Measurements

LAYERS, HEADS = list(range(12)), [0, 1, 2]
SCALES = [-2.0, -1.0, 1.0, 2.0]


def measured(seeds=(), labels=(), **keys):
    table = pd.DataFrame([dict(zip(keys, values, strict=True)) for values in product(*keys.values())])
    table = table.assign(value=1.0)
    return Measurements(
        "recovery", table, [key for key in keys if key not in seeds], seeds, labels=dict.fromkeys(labels)
    )


@pytest.mark.parametrize(
    ("keys", "x", "line", "facet", "is_map"),
    [
        ({"layer": [0, 1]}, "layer", None, (), False),
        ({"method": ["a", "b"]}, "method", None, (), False),
        ({"layer": [0, 1], "method": ["a", "b", "c"]}, "layer", "method", (), False),
        ({"layer": [0, 1], "head": HEADS}, "head", "layer", (), True),
        ({"position": ["S2", "END"], "layer": LAYERS}, "position", "layer", (), True),
        ({"layer": [0, 1], "head": HEADS, "scale": SCALES}, "scale", "layer", ("head",), False),
        ({"layer": LAYERS, "scale": SCALES}, "scale", "layer", (), True),
        ({"layer": LAYERS, "head": HEADS, "scale": SCALES}, "scale", "head", ("layer",), False),
        ({"model": ["a", "b"], "direction": ["c", "d"]}, "model", "direction", (), False),
    ],
)
def test_axes_follow_what_the_keys_are(keys, x, line, facet, is_map):
    axes = chosen_axes(measured(**keys))
    assert (axes.x, axes.line, axes.facet, axes.is_map) == (x, line, facet, is_map)


def test_what_was_swept_has_the_lines_rather_than_what_each_run_has():
    axes = chosen_axes(measured(labels=("alignment",), alignment=["a", "b"], layer=[0, 1, 2], source_layer=[0, 1, 2]))
    assert (axes.x, axes.line, axes.facet) == ("layer", "alignment", ("source_layer",))


def test_what_was_asked_for_is_kept_and_the_rest_is_said():
    axes = chosen_axes(measured(layer=[0, 1], head=HEADS, scale=SCALES), Asked(x="head", line="scale"))
    assert (axes.x, axes.line, axes.facet) == ("head", "scale", ("layer",))
    assert axes.chosen == ("facet=layer",)
    assert not axes.is_map


def test_without_other_keys_seeds_are_the_axis():
    assert chosen_axes(measured(("seed",), seed=[0, 1, 2])).x == "seed"


def test_more_lines_than_can_be_told_apart_are_no_map_if_most_of_it_were_empty():
    scattered = pd.DataFrame({"scale": [i / 7 for i in range(20)], "layer": list(range(20)), "value": 1.0})
    axes = chosen_axes(Measurements("recovery", scattered, ["scale", "layer"]))
    assert len(scattered) > MAX_LINES
    assert not axes.is_map
