"""The report of transferred vectors: sentences follow the verdicts, table and scalars agree with the result."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

from ioi_lab.interventions.transfer.vector_report import VectorTransferReport
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("tiny-pythia", "ioi (s2)")


def vector_report(result):
    return VectorTransferReport(result, "through something", CONTEXT)


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
