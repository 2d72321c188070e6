"""The headline number of each step of each study in a sweep of studies, as the change from the unedited run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ioi_lab.runs.measurements import Results, without_edits
from ioi_lab.runs.nulls import Unedited, without_best
from ioi_lab.runs.parsing import DamagedError
from ioi_lab.runs.reading import RunRecord, read_run

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: Final = {"step", "question", "state", "metric", "value", "folder"}
"""Columns of the `results.csv` of a study, which no other run has together."""

_BOUNDS: Final = ("", "_low", "_high")


@dataclass(frozen=True)
class StepValue:
    """The headline number of a step of a study, or why there is none."""

    study: str
    """The name of the study: its values of the swept keys, such as its model, or its folder."""

    step: str
    question: str
    state: str
    """`done`, `failed` or `skipped`."""

    metric: str = ""
    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    unedited: Unedited | None = None
    """What the metric is in the same step without its edits; None if there are none."""

    n_sites: int = 0
    """The number of sites of which the metric is the best; 0 if it is not the best of any."""

    @property
    def is_of_unedited_model(self) -> bool:
        """Whether the step only reads, so that its headline is the unedited model's and says nothing of the step."""
        return self.metric.startswith(("clean_logit", "corrupted_"))

    @property
    def change(self) -> tuple[float, float, float]:
        """The value and its bounds, as the change from the unedited run if there is one."""
        before = 0.0 if self.unedited is None else self.unedited.value
        return self.value - before, self.low - before, self.high - before


def step_values(studies: Sequence[tuple[str, RunRecord]]) -> list[StepValue]:
    """Return the headline of each step of each run that is a study, in the order of the steps; none of other runs."""
    return [value for name, record in studies for value in _of_study(name, record)]


def table_of_steps(values: Sequence[StepValue]) -> pd.DataFrame:
    """Return a row per step and study."""
    import pandas as pd

    order = list(dict.fromkeys(value.step for value in values))
    rows = sorted(values, key=lambda value: order.index(value.step))
    return pd.DataFrame(
        {
            "step": [row.step for row in rows],
            "question": [row.question for row in rows],
            "study": [row.study for row in rows],
            "state": [row.state for row in rows],
            "metric": [row.metric for row in rows],
            **{f"value{bound}": [part[at] for part in _values(rows)] for at, bound in enumerate(_BOUNDS)},
            "unedited": [None if row.unedited is None else row.unedited.value for row in rows],
            "unedited_run": ["" if row.unedited is None else row.unedited.run for row in rows],
            "best_of_sites": [row.n_sites or None for row in rows],
        }
    )


def _values(rows: Sequence[StepValue]) -> list[tuple[float, float, float]]:
    return [(row.value, row.low, row.high) for row in rows]


def _of_study(name: str, record: RunRecord) -> Iterator[StepValue]:
    """Yield the steps of a study; a study in which a step failed has the others."""
    results = Results.read(record)
    if not set(results.columns) >= _COLUMNS:
        return
    for row in results.rows:
        about = StepValue(name, str(row["step"]), str(row["question"]), str(row["state"]))
        yield about if row["state"] != "done" else _measured(about, record.folder, row)


def _measured(about: StepValue, study: Path, row: Mapping[str, Any]) -> StepValue:
    """Return a step that is done with its number; one whose folder cannot be read has the number as it is."""
    metric, folder = str(row["metric"] or ""), str(row["folder"])
    value, low, high = (_number(row.get(f"value{bound}")) for bound in _BOUNDS)
    read = replace(about, metric=metric, value=value, low=low, high=high)
    if not folder.isprintable() or Path(folder).name != folder or folder in ("", "..") or (study / folder).is_symlink():
        return read
    step = read_run(study / folder)
    if not step.is_done:
        return read
    try:
        unedited = without_edits(step, metric)
    except DamagedError:
        unedited = None
    is_best = metric != without_best(metric)
    return replace(read, unedited=unedited, n_sites=Results.read(step).n_sites if is_best else 0)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float(np.nan)
