"""The report of swapped heads: sentences follow the verdicts, table and scalars agree with the result."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ioi_lab.interventions.transfer.head_report import HeadSwapReport
from ioi_lab.reports.report import ReportContext

CONTEXT = ReportContext("tiny-pythia", "ioi (s2)")


def head_report(result):
    return HeadSwapReport(result, "through a map", CONTEXT)


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
