"""The figures of a lens show the values of the result, by site of the stream and by position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.engine.edits import Site
from ioi_lab.interventions.baselines import Baselines
from ioi_lab.interventions.logit_lens.figures import FLOOR, lens_figures, site_name
from ioi_lab.interventions.logit_lens.measure import HeldOut, LogitLensResult, Shown, ShownPass
from ioi_lab.interventions.self_checks import SelfChecks
from ioi_lab.lenses.reading import TopTokens
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import Discoveries
from tests.interventions.toy import CONTEXT, PAIR, ToyEngine

SITES = [Site("resid_pre", 0), Site("resid_mid", 0), Site("resid_post", 0)]
TICKS = ["embed", "0 attn", "0"]
TOKENS = {"clean": ["x", " y", " z"], "corrupted": ["x", " w", " z"]}


def estimate(values):
    values = np.asarray(values, dtype=float)
    return Estimate(values, values - 0.25, values + 0.25)


def shown_pass(which, shift):
    p_answer = np.arange(9).reshape(3, 3) / 16 + shift
    probabilities = np.stack([p_answer + 0.25, p_answer], axis=-1)
    texts = [[[f" t{site}{pos}", " b"] for pos in range(3)] for site in range(3)]
    return ShownPass(TOKENS[which], TopTokens(np.zeros((3, 3, 2), int), probabilities, p_answer, p_answer / 2), texts)


@pytest.fixture
def result():
    """Rows go by site, then by the positions S2 and END."""
    clean = {
        "logit_diff": estimate([100, -1, 0, 2, -4, 6]),
        "p_answer": estimate([0.5] * 6),
        "p_distractor": estimate([0.25] * 6),
        "rank_answer": estimate([9, 8, 7, 6, 5, 4]),
    }
    corrupted = {
        name: estimate(-values.value if name == "logit_diff" else values.value) for name, values in clean.items()
    }
    passes = {"clean": shown_pass("clean", 0.0), "corrupted": shown_pass("corrupted", 0.125)}
    return LogitLensResult(
        baselines=Baselines.measure(ToyEngine()),
        checks=SelfChecks(1.0, 0.0),
        sites=SITES,
        positions=["S2", "END"],
        estimates={"clean": clean, "corrupted": corrupted},
        main_position="END",
        leads_from=SITES[1],
        surely_leads_from=SITES[2],
        discoveries=Discoveries(*np.full((2, 12), np.nan), np.zeros(12, dtype=bool), None),
        shown=Shown(PAIR, passes, logarithmic=False),
        held_out=None,
        training=None,
        files={},
    )


def lines_in(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def draw(result, title="logit lens"):
    return lens_figures(result, CONTEXT, title)


def test_the_dashboard_has_both_names_in_both_passes(result):
    figure = draw(result)["dashboard"]
    *panels, bar = figure.axes
    assert [" ".join(ax.get_title().split()) for ax in panels] == [
        "clean: P(correct), “a”", "clean: P(incorrect), “b”",
        "corrupted: P(correct), “a”", "corrupted: P(incorrect), “b”",
    ]  # fmt: skip
    for ax, (which, name) in zip(
        panels, [(which, name) for which in TOKENS for name in ("p_answer", "p_distractor")], strict=True
    ):
        expected = getattr(result.shown.passes[which].top, name)
        assert ax.images[0].get_array().tolist() == expected.tolist()
        assert ax.images[0].get_clim() == (0, 1)
    assert [tick.get_text() for tick in panels[0].get_yticklabels()] == TICKS
    assert [tick.get_text() for tick in panels[3].get_xticklabels()] == ["x", "w", "z"]
    assert bar.get_ylabel() == "probability as next token"
    assert figure.get_suptitle() == "Logit lens\n'x' (corrupted: 'y')\ntoy"


def test_small_probabilities_are_drawn_on_a_logarithmic_scale(result):
    figures = draw(replace(result, shown=replace(result.shown, logarithmic=True)))
    assert {ax.images[0].get_clim() for ax in figures["dashboard"].axes[:-1]} == {(FLOOR, 1)}
    assert figures["by_layer"].axes[1].get_yscale() == "log"
    assert draw(result)["by_layer"].axes[1].get_yscale() == "linear"


def test_the_token_map_has_the_likeliest_token_of_the_clean_prompt(result):
    figure = draw(result)["top_tokens"]
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == [f"t{site}{pos}" for site in range(3) for pos in range(3)]
    assert ax.images[0].get_array().tolist() == result.shown.passes["clean"].top.probabilities[:, :, 0].tolist()
    assert figure.get_suptitle().splitlines()[0] == "Logit lens: the likeliest next token"


def test_curves_are_those_of_the_main_position(result):
    figure = draw(result)["by_layer"]
    difference, probability, rank = figure.axes
    lines = lines_in(difference)
    assert list(lines) == ["clean", "corrupted"]
    assert lines["clean"].get_ydata().tolist() == [-1, 2, 6]
    assert lines["corrupted"].get_ydata().tolist() == [1, -2, -6]
    assert [tick.get_text() for tick in difference.get_xticklabels()] == TICKS
    assert list(lines_in(probability)) == [f"{which}: {name}" for name in ("answer", "distractor") for which in TOKENS]
    assert [line.get_linestyle() for line in lines_in(probability).values()] == ["-", "-", "--", "--"]
    assert lines_in(rank)["clean"].get_ydata().tolist() == [8, 6, 4]
    assert rank.get_yscale() == "log"
    assert figure.get_suptitle().splitlines()[0] == "Logit lens at END"
    at_s2 = draw(replace(result, main_position="S2"))["by_layer"]
    assert lines_in(at_s2.axes[0])["clean"].get_ydata().tolist() == [100, 0, -4]


def test_maps_by_position_have_a_scale_without_the_embedding(result):
    figure = draw(result)["logit_diff_by_position"]
    clean, corrupted, bar = figure.axes
    assert [ax.get_title() for ax in (clean, corrupted)] == ["clean", "corrupted"]
    assert clean.images[0].get_array().tolist() == [[100, -1], [0, 2], [-4, 6]]
    assert clean.images[0].get_clim() == (-6, 6)
    assert " ".join(bar.get_ylabel().split()) == "logit difference (answer − distractor)"
    assert [tick.get_text() for tick in clean.get_xticklabels()] == ["S2", "END"]
    assert [tick.get_text() for tick in clean.get_yticklabels()] == TICKS


def test_cells_that_are_not_distinguishable_from_0_are_pale(result):
    found = np.array([True, False, True, True, True, True, True, True, True, True, True, False])
    tests = Discoveries(np.where(found, 0.001, 0.9), np.where(found, 0.002, 0.9), found, None)
    figure = draw(replace(result, discoveries=tests))["logit_diff_by_position"]
    clean, corrupted, _ = figure.axes
    assert clean.images[0].get_alpha().tolist() == [[1, 0.3], [1, 1], [1, 1]]
    assert corrupted.images[0].get_alpha().tolist() == [[1, 1], [1, 1], [1, 0.3]]
    assert len(clean.texts) == len(corrupted.texts) == 5
    assert "pale, without number: not distinguishable from 0" in " ".join(figure.get_suptitle().split())
    assert "pale" not in draw(result)["logit_diff_by_position"].get_suptitle()  # too few prompts for tests


def test_one_position_has_no_map(result):
    def at_end(estimates):
        return {name: estimate(values.value[1::2]) for name, values in estimates.items()}

    one = replace(
        result, positions=["END"], estimates={which: at_end(values) for which, values in result.estimates.items()}
    )
    assert list(draw(one)) == ["dashboard", "by_layer", "top_tokens"]


def test_a_trained_lens_is_compared_with_the_plain_one_on_held_out_text(result):
    held_out = HeldOut(
        by_site={"plain": estimate([3, 2, 1]), "tuned": estimate([2, 1, 0.5])},
        mean={"plain": estimate([2.5]), "tuned": estimate([1.5])},
        text="some.txt",
        n_tokens=77,
    )
    figures = draw(replace(result, held_out=held_out), "tuned lens")
    assert list(figures) == ["dashboard", "by_layer", "top_tokens", "logit_diff_by_position", "held_out_kl"]
    lines = lines_in(figures["held_out_kl"].axes[0])
    assert list(lines) == ["logit lens", "tuned lens"]
    assert lines["logit lens"].get_ydata().tolist() == [3, 2, 1]
    assert lines["tuned lens"].get_ydata().tolist() == [2, 1, 0.5]
    title = " ".join(figures["held_out_kl"].get_suptitle().split())
    assert title == "Tuned lens of toy, 77 tokens of some.txt bands: 95 % intervals over pieces of text"


def test_names_of_sites():
    names = [site_name(site) for site in (Site("resid_pre", 0), Site("resid_mid", 4), Site("resid_post", 4))]
    assert names == ["embed", "4 attn", "4"]
