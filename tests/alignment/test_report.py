"""The report of an alignment agrees with its result."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ioi_lab.alignment.report import alignment_report
from tests.alignment.test_measure import measured


@pytest.fixture
def result(both):
    return measured(both)[1]


def test_table_and_metrics_are_the_results(result):
    report = alignment_report(result, b"maps")
    assert report.files == {"maps.safetensors": b"maps"}
    for prefix, direction in result.directions.items():
        rows = report.table[report.table["direction"] == direction.name]
        assert rows["r2"].tolist() == direction.estimates["r2"].value.tolist()
        assert list(zip(rows["source_layer"], rows["layer"], strict=True)) == direction.pairs
        best = rows.iloc[direction.best]
        assert (best["r2"], best["cka"]) == (report.metrics[f"{prefix}_best_r2"], report.metrics[f"{prefix}_best_cka"])


def test_a_warning_and_a_note_follow_the_result(result):
    quiet = alignment_report(replace(result, is_underdetermined=False), b"").summary
    loud = alignment_report(
        replace(result, is_underdetermined=True, is_one_model=True, largest_distance_from_identity=0.25), b""
    ).summary
    assert not any(line.startswith(("warning", "note")) for line in quiet)
    assert any("per dimension; read the held-out R²" in line for line in loud)
    assert loud[-1] == (
        "note: source and target are the same model: maps between equal layers should be near the identity; "
        "they differ from it by at most 0.25 of its norm"
    )


def test_the_maps_of_r2_have_the_sources_layers_upwards(result):
    figures = alignment_report(result, b"").draw()
    assert set(figures) == {"r2_by_layers", "controls_forward", "controls_backward"}
    axes = figures["r2_by_layers"].axes
    values = [np.ma.getdata((panel.images or panel.collections)[0].get_array()).ravel() for panel in axes[:2]]
    assert values[0] == pytest.approx(result.forward.estimates["r2"].value)
    assert values[1] == pytest.approx(result.backward.estimates["r2"].value.reshape(2, 2).T.ravel())
    plt.close("all")
