"""Figures of sweeps from values that are made up."""

from __future__ import annotations

from itertools import product
from typing import Any

import pandas as pd

from ioi_lab.runs.axes import Axes
from ioi_lab.runs.measurements import Measurements
from ioi_lab.runs.sweep_figures import SweepFigure


def figure_of(
    axes: Axes,
    keys: dict[str, list[Any]],
    unedited: tuple[str, ...] = ("the unedited corrupted run",),
    of: str = "",
    metric: str = "recovery",
    seeds: tuple[str, ...] = (),
    **more: Any,
) -> SweepFigure:
    """A figure of runs of patch, one per combination of values, one more of which has not finished."""
    rows = [dict(zip(keys, values, strict=True)) for values in product(*keys.values())]
    values = [0.5 + 0.01 * number for number in range(len(rows))]
    table = pd.DataFrame(rows).assign(value=values, low=0.4, high=0.6, p_adjusted=float("nan"), of_run=range(len(rows)))
    vary = [key for key in keys if key not in seeds]
    measured = Measurements(metric, table, vary, seeds, unedited, bool(unedited), of, **more)
    common = {"intervention": "patch", "model": "tiny-gpt2"}
    return SweepFigure(measured, axes, "patch", common, missing=1, over="prompts", measured_on="16 prompts")
