"""The report of transferred vectors: tables and scalars agree with the result and with each other."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from ioi_lab.interventions.transfer.vector_report import VectorTransferReport
from ioi_lab.interventions.transfer.vector_summary import summary_lines
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("tiny-pythia", "ioi (s2)")


def vector_report(result):
    return VectorTransferReport(result, "through something", CONTEXT)


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


def test_the_slopes_of_the_table_are_those_of_the_metrics(vectors):
    _, result, _ = vectors
    report = vector_report(result)
    table, metrics = report.slope_table().set_index("vector"), report.metrics()
    assert len(table) == 4 + result.n_controls + 2 * 40 + 1
    carried, rescaled = table.loc["carried"], table.loc["carried at native norm"]
    for bound in ("", "_low", "_high"):
        assert carried[f"slope{bound}"] == metrics[f"slope{bound}"]
        assert carried[f"share_of_native{bound}"] == metrics[f"share_of_native{bound}"]
        assert rescaled[f"share_of_native{bound}"] == metrics[f"share_at_native_norm{bound}"]
    assert rescaled["norm"] == pytest.approx(metrics["native_norm"])
    assert table.loc["native at carried norm", "slope"] == metrics["native_slope_at_carried_norm"]
    assert metrics["controls_are_in_reach"] == (not result.slopes.out_of_reach)
    for key in ("prompts", "names"):
        slopes = table[table["kind"] == f"unrelated {key}"]["slope"]
        assert metrics[f"rank_among_unrelated_{key}"] == 1 + (slopes >= metrics["slope"]).sum()
        assert metrics[f"quantile_of_unrelated_{key}"] == pytest.approx(slopes.max())  # of 40
        assert metrics[f"slope_sd_of_unrelated_{key}"] == pytest.approx(slopes.std())
        assert f"margin_over_unrelated_{key}_low" in metrics


def test_the_metrics_have_the_verdicts(vectors):
    slopes, metrics = vectors[1].slopes, vector_report(vectors[1]).metrics()
    for name in ("beats_controls", "beats_unrelated", "comes_over", "native_steers"):
        assert metrics[name] == getattr(slopes, name)


def test_summary_and_figures_are_those_of_the_result(vectors):
    report = vector_report(vectors[1])
    assert report.summary() == summary_lines(vectors[1])
    assert set(report.figures()) == {"effect_by_scale", "slopes_and_controls", "slopes_by_layers"}
    plt.close("all")
