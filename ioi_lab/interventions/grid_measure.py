"""From the readout of a grid's rows to its result: estimates, effects, and which of them are more than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ioi_lab.engine.edits import Pass
from ioi_lab.interventions.baselines import Baselines, estimates_of
from ioi_lab.interventions.grid_result import GridResult, Row
from ioi_lab.interventions.random_sets import RandomSets
from ioi_lab.interventions.recovery import MEASURES, MetricName, check_recoverable, column_of, read
from ioi_lab.interventions.self_checks import SelfChecks
from ioi_lab.stats.discoveries import discover
from ioi_lab.stats.metrics import Readout

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


def grid_result(
    engine: Engine,
    baselines: Baselines,
    rows: list[Row],
    readout: Readout,
    checks: SelfChecks,
    base: Pass,
    noun: str,
    metric: MetricName = "logit_diff",
    random_sets: RandomSets | None = None,
) -> GridResult:
    """Return the result of a grid.

    Args:
        engine: The engine, whose prompts the intervals are taken over.
        baselines: The unedited passes.
        rows: The rows of the grid.
        readout: The readout of each row's edits.
        checks: The self-checks of the measurement.
        base: The pass that was edited.
        noun: What a row is: a head, a key/value head, a site or a set.
        metric: What effects are measured in.
        random_sets: What sets of heads are compared with.

    Raises a `LabError` if the metric was not read, or is the same in both passes.

    """
    estimates = estimates_of(engine, readout)
    column = column_of(metric)
    edited, clean, corrupted = (read(each, metric) for each in (readout, baselines.clean, baselines.corrupted))
    if column not in estimates:
        check_recoverable(clean, corrupted, metric)
        estimates[column] = engine.bootstrap.recovery(edited, clean, corrupted)
    # An edit without effect leaves the base pass, whose recovery is 0 if it is the corrupted one and 1 if clean.
    effect = estimates[column].minus(0.0 if base == "corrupted" else 1.0)
    return GridResult(
        baselines=baselines,
        checks=checks,
        rows=rows,
        readout=readout,
        estimates=estimates,
        effect=effect,
        discoveries=discover(
            edited - (corrupted if base == "corrupted" else clean),
            clean - corrupted,
            engine.bootstrap,
            MEASURES[metric].rounding,
        ),
        ranking=np.argsort(-np.abs(effect.value), kind="stable").tolist(),
        noun=noun,
        metric=metric,
        random_sets=random_sets,
    )
