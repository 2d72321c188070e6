"""The derived numbers of attention: means with intervals, the heads that lead, the comparison with patching."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.attention import measure
from ioi_lab.interventions.attention.measure import measure_attention, ranked_by
from ioi_lab.interventions.attention.ranked_heads import RankedHeads
from ioi_lab.lenses.attention import attention_to, patterns_of
from ioi_lab.models.loading import load_model
from ioi_lab.stats.bootstrap import Bootstrap
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config

KEYS = ["IO", "S1"]
OPTIONS = {"layer": "all", "heads": "strongest", "k": 3, "from_run": None, "prompt": 1}


@pytest.fixture(scope="module")
def engine():
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    return Engine(model, ioi_task(n=9).prompt_pairs(model.tokens), seed=2)


def measured(engine, which="clean", **changes):
    return measure_attention(engine, which, "END", KEYS, **OPTIONS | changes)


def test_the_largest_value_comes_first_and_equal_ones_stay_in_order():
    assert ranked_by(np.array([[0.1, 0.9], [0.9, 0.5]])) == [(0, 1), (1, 0), (1, 1), (0, 0)]


@pytest.mark.parametrize("which", ["clean", "corrupted"])
def test_weights_are_means_over_prompts_with_the_engines_resamples(engine, which):
    result = measured(engine, which)
    weights = attention_to(engine, which, "END", KEYS)
    assert list(result.weights) == ["IO", "S1", "elsewhere"]
    for index, estimate in enumerate(result.weights.values()):
        for layer, head in np.ndindex(4, 4):
            row, expected = result.row((layer, head)), Bootstrap(9, 2).mean(weights[layer, head, index][None])
            assert estimate.value[row] == pytest.approx(expected.value[0])
            assert estimate.low[row] == pytest.approx(expected.low[0])
            assert estimate.high[row] == pytest.approx(expected.high[0])
    assert result.means == pytest.approx(weights[:, :, 0].mean(axis=-1))


def test_the_leading_heads_attend_most_to_the_first_key(engine):
    result = measured(engine)
    by_mean = sorted(np.ndindex(4, 4), key=lambda head: -result.means[head])
    assert result.ranking == by_mean
    assert result.leading == result.drawn == by_mean[:3]
    assert result.pages == [0, 1, 2, 3]


def test_every_run_is_checked(engine):
    checks = measured(engine).checks
    assert checks.everything == pytest.approx(1, abs=1e-3)
    assert checks.nothing == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("which", ["clean", "corrupted"])
def test_the_shown_prompt_is_that_of_the_pass(engine, which):
    shown, pair = measured(engine, which).shown, engine.prompts[1]
    assert shown.text == (pair.clean if which == "clean" else pair.corrupted)
    assert "".join(shown.tokens).endswith(shown.text)
    assert shown.patterns == pytest.approx(patterns_of(engine, which, 1))


def test_heads_are_drawn_by_name(engine):
    result = measured(engine, heads=["2.1", 0.3])
    assert result.drawn == [(2, 1), (0, 3)]
    assert result.comparison is None


def test_the_top_heads_of_a_patching_run_are_compared_with_those_that_attend_most(engine, monkeypatch):
    first, second, *_, last = measured(engine).ranking
    ranked = RankedHeads("patch z", {last: 0.9, second: -0.5, first: 0.1})
    monkeypatch.setattr(measure, "_ranked", lambda engine, from_run: ranked)
    result = measured(engine, from_run="a run", heads="top", k=2)
    comparison = result.comparison
    assert comparison.top == result.drawn == [last, second]
    assert comparison.overlap == 1
    assert comparison.overlap_by_chance == pytest.approx(2 * 2 / 16)
    assert measured(engine, from_run="a run", k=2).drawn == [first, second]
    everything = measured(engine, from_run="a run", k=99).comparison
    assert (len(everything.top), everything.overlap, everything.overlap_by_chance) == (3, 3, 3)
