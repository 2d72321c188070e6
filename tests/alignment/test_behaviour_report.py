"""The parts of the report on stitched models and trainings agree with the result."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ioi_lab.alignment.behaviour_report import (
    stitched_figures,
    stitched_line,
    training_figures,
    training_file,
    training_lines,
)
from ioi_lab.alignment.training import LossCurve
from tests.alignment.test_measure import measured


@pytest.fixture
def result(both):
    changes = {"source_layers": [2], "target_layers": [2, 3], "stitched_texts": 8, "steps": 4, "evaluate_every": 2}
    return measured(both, method="affine_trained", **changes)[1]


def test_lines_figures_and_the_table_are_the_results(result):
    line = stitched_line(result.forward, 0)
    assert f"KL {result.forward.estimates['stitched_kl'].value[0]:.3f} (mean ablation" in line
    drawn = stitched_figures(result, "")["stitched_forward"].axes[0].lines[0].get_ydata()
    assert drawn == pytest.approx(result.forward.estimates["stitched_kl"].value[result.forward.drawn_rows])
    table = pd.read_csv(BytesIO(training_file(result)["training.csv"]))
    curve = result.forward.curves[0]
    rows = table[(table["direction"] == result.forward.name) & (table["layer"] == result.forward.pairs[0][1])]
    assert rows["stopping_loss"].tolist() == pytest.approx(curve.stopping.tolist())
    assert rows["kept"].tolist() == [int(index == curve.kept) for index in range(len(curve.steps))]
    assert set(training_figures(result, "")) == {"training_forward", "training_backward"}
    plt.close("all")


def test_without_training_there_is_nothing(result):
    none = [None] * len(result.forward.pairs)
    closed = replace(
        result,
        training=None,
        n_stitched_texts=0,
        forward=replace(result.forward, curves=none),
        backward=replace(result.backward, curves=none),
    )
    assert training_file(closed) == training_figures(closed, "") == stitched_figures(closed, "") == {}
    assert training_lines(closed) == []


def test_trainings_that_did_not_end_or_help_are_noted(result):
    def curve(kept, has_converged):
        return LossCurve(np.array([0, 9]), np.array([1.0, 0.5]), np.array([1.0, 0.5]), kept, has_converged)

    forward = replace(result.forward, curves=[curve(0, True), curve(1, False)])
    backward = replace(result.backward, curves=[curve(1, True), curve(1, True)])
    lines = training_lines(replace(result, forward=forward, backward=backward))
    assert lines == [
        "note: 1 of 4 trainings ended at alignment.steps=9 before their loss had stopped falling",
        "note: 1 of 4 trainings did not improve on their start, which is kept",
    ]
