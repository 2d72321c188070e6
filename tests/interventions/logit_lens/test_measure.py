"""The derived numbers of a lens: means with intervals, where the answer leads, the scale of the figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.interventions.logit_lens.measure import measure_lens
from ioi_lab.lenses.base import FittedLens, HeldOutKL
from ioi_lab.lenses.logit import LogitLens, lens_log_probs, read_stream
from ioi_lab.models.loading import load_model
from ioi_lab.stats.bootstrap import Bootstrap
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config

OPTIONS = {"sublayers": False, "prompt": 0, "top_k": 3, "scale": "auto"}


@pytest.fixture(scope="module")
def engine():
    model = load_model(model_config(tiny_folder("tiny-gpt2")))
    return Engine(model, ioi_task(n=10).prompt_pairs(model.tokens), seed=4)


@pytest.fixture(scope="module")
def result(engine):
    return measure_lens(engine, LogitLens(), ["S2", "END"], **OPTIONS)


@pytest.mark.parametrize("which", ["clean", "corrupted"])
def test_metrics_are_means_over_prompts_with_the_engines_resamples(engine, result, which):
    reading = read_stream(engine, which, result.sites, result.positions, {})
    bootstrap = Bootstrap(10, 4)
    for index, position in enumerate(["S2", "END"]):
        for metric in ("logit_diff", "p_answer", "p_distractor", "rank_answer", "kl"):
            expected = bootstrap.mean(getattr(reading, metric)[:, index])
            measured = result.at(which, metric, position)
            assert measured.value == pytest.approx(expected.value, abs=1e-6)
            assert measured.low == pytest.approx(expected.low, abs=1e-6, nan_ok=True)
            assert measured.high == pytest.approx(expected.high, abs=1e-6, nan_ok=True)
        accuracy = (reading.logit_diff[:, index] > 0).mean(axis=1)
        assert result.at(which, "accuracy", position).value == pytest.approx(accuracy)


def test_every_run_is_checked(result):
    assert result.checks.everything == pytest.approx(1, abs=1e-3)
    assert result.checks.nothing == pytest.approx(0, abs=1e-3)


def test_the_answer_leads_from_the_first_site_after_which_it_never_trails(result):
    curve = result.at("clean", "logit_diff", "END").value
    index = result.sites.index(result.leads_from)
    assert (curve[index:] > 0).all()
    assert index == 0 or curve[index - 1] <= 0


def test_the_answer_surely_leads_where_its_interval_does(result):
    estimate = result.at("clean", "logit_diff", "END")
    index = result.sites.index(result.surely_leads_from)
    assert (estimate.low[index:] > 0).all()
    assert index == 0 or not estimate.low[index - 1] > 0


def test_logit_differences_are_tested_over_both_passes_together(engine, result):
    readings = [read_stream(engine, which, result.sites, result.positions, {}) for which in ("clean", "corrupted")]
    rows = np.concatenate([reading.logit_diff.reshape(-1, 10) for reading in readings])
    p_value = stats.ttest_1samp(rows, 0, axis=1).pvalue
    assert result.discoveries.p_value == pytest.approx(p_value, rel=1e-3)
    assert result.discoveries.p_adjusted == pytest.approx(stats.false_discovery_control(p_value), rel=1e-3)


def test_an_answer_that_trails_at_the_end_leads_from_nowhere(engine):
    swapped = PromptPairs([_swapped(pair) for pair in engine.prompts])
    assert measure_lens(engine.on(swapped), LogitLens(), "END", **OPTIONS).leads_from is None


def _swapped(pair):
    """Return the pair with answer and distractor exchanged."""
    return replace(
        pair,
        answers=pair.distractors,
        distractors=pair.answers,
        answer_ids=pair.distractor_ids,
        distractor_ids=pair.answer_ids,
    )


def test_the_main_position_is_end_under_any_name(engine, result):
    assert result.main_position == "END"
    assert measure_lens(engine, LogitLens(), [-1, "S2"], **OPTIONS).main_position == -1
    assert measure_lens(engine, LogitLens(), ["IO", "S2"], **OPTIONS).main_position == "S2"


def test_the_shown_prompt_has_its_likeliest_tokens_in_words(engine, result):
    pair, strings = engine.prompts[0], engine.model.tokens.strings
    assert result.shown.pair is pair
    for which, tokens in (("clean", pair.clean_tokens), ("corrupted", pair.corrupted_tokens)):
        shown = result.shown.passes[which]
        assert shown.tokens == list(strings(tokens))
        assert np.array(shown.texts).shape == shown.top.ids.shape == (5, len(tokens), 3)
        assert shown.texts[-1][-1] == list(strings(shown.top.ids[-1, -1]))
    assert result.shown.passes["clean"].texts[-1][-1][0] == pair.answer


@pytest.mark.parametrize(("scale", "expected"), [("log", True), ("linear", False)])
def test_a_scale_that_is_given_is_taken(engine, scale, expected):
    assert measure_lens(engine, LogitLens(), "END", **OPTIONS | {"scale": scale}).shown.logarithmic is expected


def test_the_scale_is_logarithmic_if_no_name_is_likely_before_the_last_layer(result):
    tops = [shown.top for shown in result.shown.passes.values()]
    largest = max(values[-2, -1] for top in tops for values in (top.p_answer, top.p_distractor))
    assert result.shown.logarithmic is bool(largest < 0.01)


class Trained(LogitLens):
    """A plain lens with a held-out divergence."""

    def fit(self, engine, sites):
        rng = np.random.default_rng(0)
        kl = HeldOutKL(rng.random((len(sites), 12)), rng.random((len(sites), 12)), "some.txt", 99)
        return FittedLens(None, kl, {"a.csv": b"1"})


def test_the_divergence_on_held_out_text_has_intervals_over_its_pieces(engine):
    result = measure_lens(engine, Trained(), "END", **OPTIONS)
    kl = Trained().fit(engine, result.sites).held_out
    held_out, over_text = result.held_out, Bootstrap(12, 4)
    assert (held_out.text, held_out.n_tokens, result.files) == ("some.txt", 99, {"a.csv": b"1"})
    for name, values in (("plain", kl.plain), ("tuned", kl.trained)):
        assert held_out.by_site[name].low == pytest.approx(over_text.mean(values).low)
        assert held_out.mean[name].value[0] == pytest.approx(values[:-1].mean())
        assert held_out.mean[name].high[0] == pytest.approx(over_text.mean(values[:-1].mean(axis=0)[None]).high[0])


class Turned(LogitLens):
    """A lens that reads the negative of the stream."""

    def log_probs(self, state, bridge, stream, sites):
        return lens_log_probs(bridge, -stream, sites, {})


def test_a_lens_that_does_not_end_at_the_output_is_refused(engine):
    with pytest.raises(LabError, match=r"^intervention\.lens: at the last layer this lens does not give the model's"):
        measure_lens(engine, Turned(), "END", **OPTIONS)


def test_sublayers_lie_between_attention_and_mlp(engine):
    result = measure_lens(engine, LogitLens(), "END", **OPTIONS | {"sublayers": True})
    assert result.sites[1] == Site("resid_mid", 0)
    assert len(result.at("clean", "kl", "END").value) == 9
    assert result.at("clean", "kl", "END").value[-1] == pytest.approx(0, abs=1e-6)
