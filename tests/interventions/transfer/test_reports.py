"""Reports say what the results hold: sentences follow the verdicts, figures and tables show the same numbers."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ioi_lab.interventions.transfer.head_report import HeadSwapReport
from ioi_lab.interventions.transfer.vector_report import VectorTransferReport
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("tiny-pythia", "ioi (s2)")


def vector_report(result):
    return VectorTransferReport(result, "through something", CONTEXT)


def head_report(result):
    return HeadSwapReport(result, "through a map", CONTEXT)


@pytest.mark.parametrize(("beats", "line"), [(True, "its effect transfers"), (False, "no transfer has been shown")])
def test_the_verdict_of_vectors_is_the_results(vectors, beats, line):
    _, result, _ = vectors
    report = vector_report(replace(result, beats_controls=beats))
    assert line in report.summary()[-1]
    assert report.metrics()["beats_controls"] == beats


def test_no_share_is_printed_of_a_native_effect_that_is_not_there(vectors):
    _, result, _ = vectors
    with_share, without = (vector_report(replace(result, native_steers=steers)).summary() for steers in (True, False))
    assert any(" % of it" in line for line in with_share)
    assert not any(" % of it" in line for line in without)
    assert any("there is no native effect to have a share of" in line for line in without)


def test_the_table_and_the_metrics_of_vectors_agree(vectors):
    _, result, _ = vectors
    report = vector_report(result)
    table, metrics = report.table(), report.metrics()
    assert len(table) == len(result.rows) * len(result.scales)
    row = table[
        (table["vector"] == "carried")
        & (table["source_layer"] == metrics["source_layer"])
        & (table["layer"] == metrics["layer"])
        & (table["scale"] == metrics["carried_strongest_scale"])
    ]
    assert row["flipped"].item() == metrics["carried_flipped"]
    assert row["logit_diff"].item() == metrics["carried_logit_diff"]
    scale = abs(metrics["carried_strongest_scale"])
    assert row["added_norm"].item() == pytest.approx(scale * metrics["norm"])


def test_the_curves_show_native_carried_and_controls(vectors):
    _, result, _ = vectors
    figure = vector_report(result).figures()["effect_by_scale"]
    labels = [text.get_text() for legend in [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
              if legend is not None for text in legend.get_texts()]  # fmt: skip
    assert {"native", "carried", f"5 {result.control_noun}"} <= set(labels)
    assert ("mean shift" in labels) == (result.mean_shift is not None)
    plt.close("all")


@pytest.mark.parametrize(
    ("verdict", "unbeaten", "line"),
    [
        ("beats every control", [], "more than every control: its effect transfers"),
        ("beats mean and zero", ["1.2"], "more than mean and zero, but no more than 1 of 7 other heads do (1.2)"),
        (
            "beats not even mean and zero",
            ["own mean", "1.0", "1.1", "1.2", "1.3", "2.1", "2.2"],
            "no more than controls do (own mean, 1.0, 1.1, 1.2, 1.3 and 2 more): no transfer has been shown",
        ),
    ],
)
def test_the_verdict_of_heads_is_the_results(heads, verdict, unbeaten, line):
    _, result, _ = heads
    report = head_report(replace(result, verdict=verdict, unbeaten=unbeaten))
    assert report.summary()[-1].endswith(line)
    assert report.metrics()["beats_controls"] == (verdict == "beats every control")
    assert report.metrics()["n_unbeaten"] == len(unbeaten)


def test_the_table_and_the_metrics_of_heads_agree(heads):
    _, result, _ = heads
    report = head_report(result)
    table, metrics = report.table(), report.metrics()
    chosen = table[table["source_head"] == "2.0"]
    assert chosen["recovery"].item() == metrics["recovery"]
    assert chosen["share_of_own"].item() == metrics["share_of_own"]
    assert list(table["in_its_place"][:3]) == ["own clean", "own mean", "zeroed"]
    alone = head_report(replace(result, others=None)).metrics()
    assert (alone["n_other_heads"], "recovery_other_heads" in alone) == (0, False)


def test_figures_of_heads_show_the_results_values(heads):
    _, result, _ = heads
    figures = head_report(result).figures()
    image = figures["recovery_by_source_head"].axes[0].images or figures["recovery_by_source_head"].axes[0].collections
    assert np.ma.getdata(image[0].get_array()).ravel() == pytest.approx(result.beyond_mean.ravel())
    plt.close("all")
