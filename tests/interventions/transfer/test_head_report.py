"""The report of swapped heads: sentences follow the verdicts, table and scalars agree with the result."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ioi_lab.alignment.training import LossCurve
from ioi_lab.interventions.transfer.head_report import HeadSwapReport
from ioi_lab.reports.report import ReportContext
from ioi_lab.transfer.head_maps import MapTraining

CONTEXT = ReportContext("tiny-pythia", "ioi (s2)")


def head_report(result):
    return HeadSwapReport(result, "through a map", CONTEXT)


def verdict_line(report):
    """The last line about the chosen heads, before those about all pairs."""
    lines = report.summary()
    return lines[next(row for row, line in enumerate(lines) if line.startswith("every head of ")) - 1]


def with_recovery(result, low=0.1, **changes):
    """The result with an effect to transfer, and recoveries that are surely above `low`."""
    recovery = replace(result.recovery, low=np.full(len(result.names), low))
    return replace(result, **{"estimates": {"recovery": recovery}, "own_recovers": True} | changes)


@pytest.mark.parametrize(
    ("verdict", "unbeaten", "at_equal_length", "line"),
    [
        ("beats every control", [], [], "the foreign head recovers more than every control: its effect transfers"),
        (
            "beats other heads, mean and zero",
            [],
            ["idle_heads", "other_layers"],
            "no transfer has been shown: the foreign head recovers more than other heads, mean and zero, but not "
            "clearly more than heads without effect in their own model and its image in other layers",
        ),
        (
            "beats mean and zero",
            ["1.2"],
            ["other_layers"],
            "no transfer has been shown: the foreign head recovers more than mean and zero, but not clearly more "
            "than 1 of 7 other heads of tiny-gpt2 (1.2)",
        ),
        (
            "beats not even mean and zero",
            ["own mean", "1.0", "1.1", "1.2", "1.3", "2.1", "2.2"],
            [],
            "no transfer has been shown: the foreign head does not clearly recover more than controls (own mean, 1.0, "
            "1.1, 1.2, 1.3 and 2 more)",
        ),
    ],
)
def test_the_verdict_of_heads_is_the_results(heads, verdict, unbeaten, at_equal_length, line):
    changes = {"unbeaten": unbeaten, "unbeaten_at_equal_length": at_equal_length}
    result = with_recovery(heads[1], verdict=verdict, **changes)
    report = head_report(result)
    assert verdict_line(report).strip() == line
    assert any(" % of what its own output adds" in text for text in report.summary()[:2]) == (
        verdict != "beats not even mean and zero"
    )
    assert report.metrics()["beats_controls"] == report.metrics()["comes_over"] == (verdict == "beats every control")
    assert report.metrics()["n_unbeaten"] == len(unbeaten) + len(at_equal_length)


def test_the_chosen_head_stands_next_to_its_controls_at_equal_length(heads):
    report, margins = head_report(heads[1]), heads[1].equal_length.margins
    (line,) = [line for line in report.summary() if line.startswith("  the foreign head's less ")]
    assert line.count("; less ") == 2
    metrics = report.metrics()
    for name, text in (
        ("idle_heads", "heads without effect in their own model"),
        ("other_prompts", "its image of other prompts"),
        ("other_layers", "its image in other layers"),
    ):
        assert f"{text} {margins[name].value[0]:.3f} [" in line
        assert metrics[f"margin_over_{name}"] == margins[name].value[0]
        assert metrics[f"margin_over_{name}_low"] == margins[name].low[0]


def test_a_head_without_effect_in_its_own_model_has_no_function_to_transfer(heads):
    idle = heads[1].equal_length.idle.of_source[0]
    report = head_report(with_recovery(heads[1], verdict="beats every control", chosen=idle))
    assert verdict_line(report).endswith("the foreign head is among the heads without effect in its own model")
    assert report.metrics()["comes_over"] == 0


def test_no_share_is_printed_of_a_native_effect_that_is_not_there(heads):
    changes = {"own_recovers": False, "verdict": "beats every control", "unbeaten": []}
    report = head_report(with_recovery(heads[1], **changes))
    lines = report.summary()
    assert not any(" % of what its own output adds" in line for line in lines[:4])
    assert any("there is no native effect to have a share of" in line for line in lines)
    assert verdict_line(report).endswith("there is no clear effect to transfer")


def test_without_intervals_nothing_is_claimed_of_heads(heads):
    result = with_recovery(heads[1], low=np.nan, own_recovers=False, verdict="beats not even mean and zero")
    assert "there are no intervals (fewer than 8 held-out prompts" in verdict_line(head_report(result))


def test_a_null_result_of_heads_is_pale_and_says_so(heads):
    nothing = np.ones_like(heads[1].beyond_mean, dtype=bool)
    null = with_recovery(heads[1], verdict="beats mean and zero", beyond_mean_not_found=nothing)
    transferred = with_recovery(heads[1], verdict="beats every control", beyond_mean_not_found=~nothing)
    null_figures, figures = (head_report(result).figures() for result in (null, transferred))
    for name, figure in null_figures.items():
        if name in ("recovery_by_pair", "pairs_and_controls"):  # of all heads, not of the chosen one
            continue
        assert "no transfer has been shown" in figure.get_suptitle()
        assert "no transfer" not in figures[name].get_suptitle()
    for each, outlines, texts in ((null_figures, 0, 0), (figures, 1, null.beyond_mean.size)):
        ax = each["recovery_by_source_head"].axes[0]
        assert sum(not patch.get_fill() for patch in ax.patches) == outlines
        assert len(ax.texts) == texts
    assert "pale" in null_figures["recovery_by_source_head"].get_suptitle()
    plt.close("all")


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


def test_the_role_of_paired_heads_is_named_and_its_other_heads_are_no_controls(heads):
    result = with_recovery(heads[1], role="subject suppressor", of_role=[(2, 0), (2, 1)])
    text = head_report(result).verdict
    assert "(both in the role of a subject suppressor; 2.1 of tiny-gpt2 with this role are no controls)" in text
    assert "role" not in head_report(with_recovery(heads[1])).verdict


def test_trained_maps_are_reported_with_what_training_changed(heads):
    assert not any("trained by stitching" in line for line in head_report(heads[1]).summary())
    steps = np.array([0, 5])
    curves = {
        ((2, 0), (3, 0)): LossCurve(steps, np.array([0.4, 0.2]), np.array([0.5, 0.1]), kept=1, has_converged=True),
        ((2, 1), (3, 0)): LossCurve(steps, np.array([0.4, 0.5]), np.array([0.3, 0.6]), kept=0, has_converged=False),
    }
    report = head_report(replace(heads[1], training=MapTraining(curves)))
    (line,) = (line for line in report.summary() if "trained by stitching" in line)
    assert "between 2 pairs of heads" in line
    assert "is 0.2 on average, after 0.4 with the maps as they were fitted; training improved 1 of them" in line
    assert line.endswith("; 1 ended at alignment.steps")
    metrics = report.metrics()
    assert (metrics["n_trained_maps"], metrics["n_improved_maps"]) == (2, 1)
    assert (metrics["map_loss_at_start"], metrics["map_loss"]) == (pytest.approx(0.4), pytest.approx(0.2))
    rows = report.training_rows()
    assert [row["kept"] for row in rows] == [0, 1, 1, 0]
    assert rows[1] == {
        "direction": "tiny-gpt2 → tiny-pythia", "source_head": "2.0", "head": "3.0",
        "step": 5, "training_loss": 0.2, "stopping_loss": 0.1, "kept": 1,
    }  # fmt: skip
    assert head_report(heads[1]).training_rows() == []
