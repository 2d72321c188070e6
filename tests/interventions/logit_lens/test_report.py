"""The report of a lens reads the fields of its result: table, metrics, lines and figures agree with them."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest

from ioi_lab.engine.edits import Site
from ioi_lab.engine.engine import Engine
from ioi_lab.interventions.logit_lens.figures import lens_figures
from ioi_lab.interventions.logit_lens.measure import HeldOut, measure_lens
from ioi_lab.interventions.logit_lens.report import lens_report
from ioi_lab.lenses.base import TrainingCurve
from ioi_lab.lenses.logit import LogitLens
from ioi_lab.models.loading import load_model
from ioi_lab.reports.report import ReportContext
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task, model_config

CONTEXT = ReportContext("a model", "a task")


@pytest.fixture(scope="module")
def result():
    model = load_model(model_config(tiny_folder("tiny-pythia")))
    engine = Engine(model, ioi_task(n=8).prompt_pairs(model.tokens))
    return measure_lens(engine, LogitLens(), ["S2", "END"], sublayers=False, prompt=2, top_k=2, scale="log")


def with_held_out(result):
    def constant(value, rows):
        return Estimate(*(np.full(rows, value + shift) for shift in (0, -0.1, 0.1)))

    n = len(result.sites)
    return replace(
        result,
        held_out=HeldOut(
            by_site={"plain": constant(2.0, n), "tuned": constant(1.0, n)},
            mean={"plain": constant(2.0, 1), "tuned": constant(1.0, 1)},
            text="some.txt",
            n_tokens=77,
        ),
    )


def test_the_table_has_a_row_per_pass_site_and_position(result):
    table = lens_report(result, CONTEXT, "logit lens").table
    assert len(table) == 2 * 5 * 2
    for which in ("clean", "corrupted"):
        for position in ("S2", "END"):
            rows = table[(table["run"] == which) & (table["position"] == position)]
            estimate = result.at(which, "logit_diff", position)
            assert rows["logit_diff"].to_numpy() == pytest.approx(estimate.value)
            assert rows["logit_diff_low"].to_numpy() == pytest.approx(estimate.low)
            assert rows["component"].tolist() == [site.component for site in result.sites]


@pytest.mark.parametrize(
    ("site", "surely", "metrics", "words"),
    [
        (
            Site("resid_pre", 0),
            Site("resid_mid", 2),
            (-1, 2),
            "the embedding on, with the whole 95 % interval from the attention of layer 2 on",
        ),
        (
            Site("resid_mid", 2),
            None,
            (2, None),
            "the attention of layer 2 on, but not with the whole 95 % interval after the last layer",
        ),
        (Site("resid_post", 3), Site("resid_post", 3), (3, 3), "layer 3 on, with the whole 95 % interval"),
    ],
)
def test_the_place_from_which_the_answer_leads(result, site, surely, metrics, words):
    report = lens_report(replace(result, leads_from=site, surely_leads_from=surely), CONTEXT, "logit lens")
    names = ("answer_leads_from_layer", "answer_surely_leads_from_layer")
    assert tuple(report.metrics.get(name) for name in names) == metrics
    assert f"on average, the answer leads the distractor from {words}" in report.summary


def test_an_answer_that_does_not_lead_or_has_no_interval(result):
    nowhere = lens_report(replace(result, leads_from=None, surely_leads_from=None), CONTEXT, "logit lens")
    assert "the answer does not lead the distractor after the last layer" in nowhere.summary
    value = result.estimates["clean"]["logit_diff"].value
    unknown = result.estimates["clean"] | {"logit_diff": Estimate(value, value * np.nan, value * np.nan)}
    few = replace(result, estimates=result.estimates | {"clean": unknown}, leads_from=Site("resid_post", 3))
    lines = lens_report(few, CONTEXT, "logit lens").summary
    assert "on average, the answer leads the distractor from layer 3 on" in lines


def test_the_summary_is_that_of_the_clean_pass_at_the_main_position(result):
    lines = lens_report(result, CONTEXT, "logit lens").summary
    assert lines[0] == "the logit lens at END, clean prompts:"
    last = lines[2 + len(result.sites) - 1].split()
    assert last[0] == "3"
    assert float(last[1]) == pytest.approx(result.at("clean", "logit_diff", "END").value[-1], abs=0.006)
    assert float(last[2]) == pytest.approx(result.at("clean", "p_answer", "END").value[-1], abs=0.0006)


def test_a_trained_lens_reports_its_quality(result):
    report = lens_report(with_held_out(result), CONTEXT, "tuned lens")
    assert report.metrics["held_out_kl_plain"] == 2
    assert report.metrics["held_out_kl_tuned_low"] == pytest.approx(0.9)
    assert report.metrics["text_tokens"] == 77
    assert report.summary[-1] == (
        "KL to the model's output on held-out text, mean over layers: 2.000 [1.900, 2.100] plain, 1.000 [0.900, 1.100] "
        "tuned"
    )


def curve(*, has_converged, n_sites=4):
    kl = np.outer([3.0, 1.5, 2.0], np.ones(n_sites)) + np.linspace(-0.5, 0.5, n_sites)
    return TrainingCurve(np.array([0, 50, 100]), kl, kept=1, has_converged=has_converged)


def test_a_training_that_ended_at_its_maximum_is_warned_about(result):
    report = lens_report(replace(result, training=curve(has_converged=False)), CONTEXT, "tuned lens")
    assert report.summary[-2:] == [
        "trained for 100 steps; the translators after step 50, with the lowest KL on the text for stopping, are kept",
        "warning: training ended at its maximum of 100 steps, before this KL had stopped falling; with more "
        "(intervention.lens.steps) the lens may come closer to the model",
    ]
    assert report.metrics["training_converged"] == 0
    converged = lens_report(replace(result, training=curve(has_converged=True)), CONTEXT, "tuned lens")
    assert converged.summary == report.summary[:-1]
    assert {name: value for name, value in converged.metrics.items() if name.startswith("training")} == {
        "training_steps": 100,
        "training_kept_step": 50,
        "training_converged": 1,
    }


def test_the_curve_of_a_training_is_written_and_drawn(result):
    report = lens_report(replace(result, training=curve(has_converged=True)), CONTEXT, "tuned lens")
    table = pd.read_csv(BytesIO(report.files["training.csv"]))
    assert table["step"].tolist() == [0, 50, 100]
    assert table["kept"].tolist() == [False, True, False]
    assert table["kl"].tolist() == pytest.approx([3, 1.5, 2])
    assert list(table.columns[3:]) == ["kl_resid_pre.0", "kl_resid_post.0", "kl_resid_post.1", "kl_resid_post.2"]
    assert table["kl_resid_pre.0"].tolist() == pytest.approx([2.5, 1, 1.5])
    figure = report.draw()["training"]
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[0, 3], [50, 1.5], [100, 2]]
    title = " ".join(figure.get_suptitle().split())
    assert title == "Training of the tuned lens of a model until the KL no longer fell; kept: step 50"


def test_files_hold_the_likeliest_tokens_and_what_the_lens_leaves(result):
    report = lens_report(replace(result, files={"extra.csv": b"x"}), CONTEXT, "logit lens")
    assert set(report.files) == {"top_tokens.csv", "extra.csv"}
    lines = report.files["top_tokens.csv"].decode().splitlines()
    assert len(lines) == 1 + 2 * 5 * len(result.shown.pair) * 2


def test_figures_say_what_was_read_of_which_model(result):
    figures = lens_figures(result, CONTEXT, "logit lens")
    assert list(figures) == ["dashboard", "by_layer", "top_tokens", "logit_diff_by_position"]
    titles = {name: figure.get_suptitle() for name, figure in figures.items()}
    assert titles["by_layer"].splitlines()[0] == "Logit lens at END"
    assert "a model, a task, 8 prompts" in titles["by_layer"]
    assert titles["dashboard"].endswith("a model")
    only_end = replace(result, positions=["END"])
    assert "logit_diff_by_position" not in lens_figures(
        replace(only_end, estimates={which: _every_second(rows) for which, rows in result.estimates.items()}),
        CONTEXT,
        "logit lens",
    )


def _every_second(estimates):
    return {name: estimate.rows(slice(1, None, 2)) for name, estimate in estimates.items()}


def test_the_figure_of_a_trained_lens_names_the_text(result):
    figure = lens_figures(with_held_out(result), CONTEXT, "tuned lens")["held_out_kl"]
    assert " ".join(figure.get_suptitle().split()).startswith("Tuned lens of a model, 77 tokens of some.txt")
