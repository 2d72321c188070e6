"""What the runs of a sweep have measured, as one long table: a row per run, or per row of their `results.csv`.

Each value of a metric of edits is given as the change from the same run without its edits.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ioi_lab.reports.report import PER_PROMPT, SELECTORS
from ioi_lab.runs.nulls import Unedited, edits_clean, unedited, without_best
from ioi_lab.runs.reading import RunRecord, read_config
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.storage.tables import unescaped

if TYPE_CHECKING:
    import pandas as pd

PLACES: Final = (
    *SELECTORS,
    *("sites", "receiver", "direction", "vector", "source_layer", "in_its_place", "source_head"),
    *("run", "order", "by", "group", "method", "ranking", "k", "circuit", "task", "test", "statistic"),
)
"""The columns of `results.csv` that say which edit, or which readout, a row belongs to."""

VALUES: Final = ("value", "low", "high", "p_adjusted")
OF_RUN: Final = "of_run"
"""The column of `Measurements.table` for the place of the run in the sweep."""

ROW: Final = "row"
"""The key of rows with the same values in all columns of `PLACES`: their numbers in `results.csv`."""

_OF_LOGIT_DIFF: Final = ("logit_diff", "logit_diff_share", "recovery", "slope", "initial_slope", "efficiency")
"""The metrics of the effect on the logit difference."""

_RANDOM: Final = "random "
"""How the directions begin that steering is compared with."""


@dataclass(frozen=True)
class Measurements:
    """The values of one metric."""

    metric: str
    table: pd.DataFrame
    """The columns of `VALUES`, `OF_RUN`, and one per key, named by its label."""

    keys: Sequence[str]
    """The labels of what varies, apart from seeds."""

    replicates: Sequence[str] = ()
    """The labels of the seeds that vary."""

    unedited: Sequence[str] = ()
    """The runs, in words, from which values are changes; empty for a metric that unedited runs do not have."""

    is_effect: bool = False
    """Whether 0 is no effect: of changes, and of slopes, shares and other effects."""

    of: str = ""
    """What each value is the best of; empty if it is of one site, or of a whole run."""

    row: str = ""
    """What each value belongs to, if not to a whole run: `site`, `pair of layers` or `row of results.csv`."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """The full names of the keys by their labels."""

    fixed: Sequence[str] = ()
    """The swept keys that have one value in this table, such as `component = z`."""

    note: str = ""
    """What has to be said of the intervals."""

    @property
    def is_steered(self) -> bool:
        """Whether values are changes that vanish at the scale 0."""
        return any("unsteered" in run for run in self.unedited)

    def values(self, key: str) -> list[Any]:
        """Return the values of a key: in ascending order if they are numbers, else in that of the table."""
        values = list(dict.fromkeys(self.table[key].tolist()))
        return sorted(values) if self.is_number(key) else values

    def is_number(self, key: str) -> bool:
        """Return whether all values of a key are numbers."""
        return all(isinstance(value, int | float) for value in self.table[key].tolist())


@dataclass(frozen=True)
class Results:
    """The rows of a run's `results.csv`, without the random directions that steering is compared with."""

    record: RunRecord
    columns: Sequence[str] = ()
    numbers: Sequence[int] = ()
    """The number of each row in the file."""

    rows: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def read(cls, record: RunRecord) -> Results:
        """Read a finished run; its results are empty if they cannot be read."""
        try:
            with (record.folder / "results.csv").open(encoding="utf-8", newline="") as file:
                read = list(csv.DictReader(file))
        except (OSError, ValueError, csv.Error):
            return cls(record)
        kept = [number for number, row in enumerate(read) if not str(row.get("direction")).startswith(_RANDOM)]
        rows = [{str(key): _cell(text) for key, text in read[number].items()} for number in kept]
        return cls(record, list(map(str, read[0])) if read else [], kept, rows)

    @property
    def n_sites(self) -> int:
        """The number of different sites that are edited, whatever the scale."""
        return len({tuple(row.get(name) for name in PLACES if name != "scale") for row in self.rows})

    def estimate(self, metric: str) -> Estimate:
        """Return a column with its bounds; NaN for cells that are no numbers."""
        names = (metric, f"{metric}_low", f"{metric}_high")
        return Estimate(*(np.array([_as_number(row.get(name)) for row in self.rows]) for name in names))

    def p_adjusted(self) -> list[float]:
        """Return the p-values that the run has corrected for the number of its own effects: see `is_tested`."""
        return [_as_number(row.get("p_adjusted")) for row in self.rows]


def varying(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of `PLACES` in which rows of results differ, and `ROW` if these do not tell them apart.

    Rows that are the same in all columns count once.
    """
    names = [name for name in PLACES if len({row.get(name) for row in rows}) > 1]
    n_told_apart = len({tuple(row.get(name) for name in names) for row in rows})
    return names if n_told_apart == len({tuple(row.values()) for row in rows}) else [*names, ROW]


def paired_changes(results: Sequence[Results], metric: str) -> dict[tuple[int, int], tuple[float, float, float]]:
    """Return the changes of the logit difference with their intervals, prompt by prompt, by run and row.

    Only for runs with values by prompt whose intervals are taken over prompts.
    """
    if metric != "logit_diff":
        return {}
    groups: dict[tuple[int, int], list[tuple[int, int, Any]]] = defaultdict(list)
    for place, each in enumerate(results):
        for n_prompts, seed, number, changes in _changes_by_prompt(each):
            groups[n_prompts, seed].append((place, number, changes))
    paired: dict[tuple[int, int], tuple[float, float, float]] = {}
    for (n_prompts, seed), members in groups.items():
        estimate = _bootstrap(n_prompts, seed).mean(np.stack([changes for *_, changes in members]))
        bounds = zip(estimate.value.tolist(), estimate.low.tolist(), estimate.high.tolist(), strict=True)
        paired |= {(place, number): own for (place, number, _), own in zip(members, bounds, strict=True)}
    return paired


def without_edits(record: RunRecord, metric: str) -> Unedited | None:
    """Return the value of a metric in the same run without its edits; None if there is none."""
    intervention = read_config(record.folder).get("intervention")
    return unedited(metric, intervention if isinstance(intervention, Mapping) else {}, record.metrics)


def is_tested(record: RunRecord, metric: str) -> bool:
    """Return whether the p-values of a run are about a metric: the logit difference, or the `metric` of its config."""
    intervention = read_config(record.folder).get("intervention")
    measure = intervention.get("metric", "logit_diff") if isinstance(intervention, Mapping) else "logit_diff"
    base = without_best(metric)
    return base in _OF_LOGIT_DIFF if measure == "logit_diff" else base == f"recovery_{measure}"


def _changes_by_prompt(result: Results) -> Iterator[tuple[int, int, int, Any]]:
    """Yield the number of prompts, the seed, the row's number and the changes of each row of a run."""
    import pyarrow.parquet as parquet
    from pyarrow import ArrowException

    config = read_config(result.record.folder)
    path = Path(result.record.folder) / PER_PROMPT
    stats, intervention = config.get("stats"), config.get("intervention")
    is_over_prompts = not isinstance(stats, Mapping) or stats.get("over") == "prompts"
    if not is_over_prompts or not path.is_file() or not isinstance(intervention, Mapping):
        return
    base = f"{'clean' if edits_clean(intervention) else 'corrupted'}_logit_diff"
    try:
        with parquet.ParquetFile(path) as file:  # `read_table` reads sets of files too, in three times the time
            table = file.read(columns=["row", "logit_diff", base])
    except (OSError, ValueError, KeyError, ArrowException):
        return
    row, edited, before = (column.to_numpy() for column in table.itercolumns())
    for number in result.numbers:
        changes = (edited - before)[row == number]
        if len(changes):
            yield len(changes), int(config.get("seed") or 0), number, changes


@lru_cache(maxsize=8)
def _bootstrap(n_prompts: int, seed: int) -> Bootstrap:
    return Bootstrap(n_prompts, seed)


def _cell(text: str | None) -> Any:
    """Return a cell as a number if it is one, and an empty one as None."""
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return unescaped(text)


def _as_number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
