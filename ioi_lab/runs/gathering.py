"""From the runs of a sweep to measurements: single sites, the best site of each run, or values of whole runs.

Single sites and bests are never in one table: the best of many is larger than a site that nobody has chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ioi_lab.reports.report import SELECTORS
from ioi_lab.runs.measurements import (
    OF_RUN,
    ROW,
    VALUES,
    Measurements,
    Results,
    is_tested,
    paired_changes,
    varying,
    without_edits,
)
from ioi_lab.runs.nulls import LEVELS, Unedited, without_best
from ioi_lab.runs.parsing import DamagedError
from ioi_lab.runs.reading import RunRecord
from ioi_lab.stats.bootstrap import Estimate

if TYPE_CHECKING:
    import pandas as pd

_MISSING: Final = "–"
_UNPAIRED: Final = "intervals are those of the edited value"


@dataclass(frozen=True)
class Gathering:
    """The finished runs of a sweep, and the keys that differ between them."""

    runs: pd.DataFrame
    """The rows of `load_runs` for the finished runs."""

    records: Sequence[RunRecord]
    """Their records, in the same order."""

    swept: Sequence[str]
    wanted: Sequence[str] = ()
    """Columns of `results.csv` that somebody has asked for as axes."""

    @cached_property
    def results(self) -> list[Results]:
        """The results of each run."""
        return [Results.read(record) for record in self.records]

    @cached_property
    def columns(self) -> list[str]:
        """The columns that the results of all runs have."""
        common = [set(result.columns) for result in self.results]
        return [name for name in (self.results[0].columns if common else ()) if all(name in each for each in common)]

    @cached_property
    def labels(self) -> dict[str, str]:
        """The full names of the swept keys by their labels: the last part, if no other swept key ends alike."""
        ends = [key.split(".")[-1] for key in self.swept]
        return {end if ends.count(end) == 1 else key: key for end, key in zip(ends, self.swept, strict=True)}

    def measured(self, metric: str) -> list[Measurements]:
        """Return the values of a metric: those of one figure each."""
        if self.runs.empty:
            return []
        base, places = without_best(metric), range(len(self.records))
        is_of_sites = base in self.columns
        if metric == base and is_of_sites and metric not in self.runs:
            return [self.of_sites(metric, places)]
        if metric == base or not is_of_sites:
            return [self.of_runs(metric, places)]
        single = [place for place in places if len(self.results[place].rows) <= 1]
        several = [place for place in places if place not in set(single)]
        parts = [self.of_sites(base, single)] if single else []
        return parts + ([self.of_runs(metric, several), self.of_sites(base, several)] if several else [])

    def of_runs(self, metric: str, places: Iterable[int]) -> Measurements:
        """Return a value per run."""
        chosen = list(places)
        rows, words = [], []
        for place in chosen:
            values = [self._number(place, f"{metric}{bound}") for bound in ("", "_low", "_high")]
            estimate = Estimate(*(np.array([value]) for value in values))
            without = _without(self.records[place], metric)
            words += [] if without is None else [without.run]
            changed = estimate if without is None else estimate.minus(without.value)
            own = (changed.value[0], changed.low[0], changed.high[0], self._p_adjusted(place, metric), place)
            rows.append(dict(zip((*VALUES, OF_RUN), own, strict=True)) | self._coordinates(place))
        counts = {self.results[place].n_sites for place in chosen} - {0}
        is_best = metric != without_best(metric) and max(counts, default=1) > 1
        few, many = min(counts, default=0), max(counts, default=0)
        count = f" of {many if few == many else f'{few} to {many}'} sites" if metric.startswith("best_") else ""
        of = f"each run's best{count}" if is_best else ""
        is_level = without_best(metric) in self._levels
        return self._as_measurements(metric, rows, words, of, _UNPAIRED if words and is_level else "")

    def of_sites(self, metric: str, places: Iterable[int]) -> Measurements:
        """Return a value per row of the results of some runs."""
        chosen = list(places)
        results = [self.results[place] for place in chosen]
        extra = list(dict.fromkeys(name for result in results for name in varying(result.rows)))
        extra += [name for name in (*SELECTORS, *self.wanted) if name in self.labels or name in self.wanted]
        extra = [name for name in dict.fromkeys(extra) if name in self.columns or name == ROW]
        paired = paired_changes(results, metric)
        rows, words, n_unpaired = [], [], 0
        for place, (index, result) in zip(chosen, enumerate(results), strict=True):
            estimate, without = result.estimate(metric), _without(result.record, metric)
            words += [] if without is None else [without.run]
            changed = estimate if without is None else estimate.minus(without.value)
            p_adjusted = result.p_adjusted() if _is_tested(result.record, metric) else [np.nan] * len(result.rows)
            columns = [changed.value.tolist(), changed.low.tolist(), changed.high.tolist(), p_adjusted]
            for number, row, *own in zip(result.numbers, result.rows, *columns, strict=True):
                pair = paired.get((index, number)) if without is not None else None
                n_unpaired += pair is None
                values = own if pair is None else [*pair, own[3]]
                placed = {ROW: number} | row
                where = {name: _MISSING if placed.get(name) is None else placed[name] for name in extra}
                rows.append(dict(zip(VALUES, values, strict=True)) | {OF_RUN: place} | self._coordinates(place) | where)
        is_level = metric in self._levels
        note = _UNPAIRED if words and is_level and n_unpaired else ""
        return self._as_measurements(metric, rows, words, "", note, self._row)

    @property
    def _row(self) -> str:
        """What a row of the results stands for."""
        if "source_layer" in self.columns:
            return "pair of layers"
        filled = {name for result in self.results for row in result.rows for name in row if row[name] is not None}
        return "site" if {"component", "layer"} <= filled else "row of results.csv"

    @property
    def _levels(self) -> set[str]:
        """The metrics whose intervals say how sure the edited value is, not how sure the change."""
        return set(LEVELS)

    def _coordinates(self, place: int) -> dict[str, Any]:
        """Return the values of the swept keys of a run: as typed, or as its config has them."""
        return {label: self._value(place, key) for label, key in self.labels.items()}

    def _value(self, place: int, key: str) -> Any:
        for name in (f"typed.{key}", key):
            value = self.runs[name].iloc[place] if name in self.runs else None
            if value is not None and value == value:
                return int(value) if isinstance(value, float) and value.is_integer() and "scale" not in key else value
        return _MISSING

    def _number(self, place: int, column: str) -> float:
        value = self.runs[column].iloc[place] if column in self.runs else None
        return float(value) if isinstance(value, int | float | np.number) else float("nan")

    def _p_adjusted(self, place: int, metric: str) -> float:
        """Return the p-value of a run's best site, which is 1 if the run has found no effect; NaN if unknown."""
        if not metric.startswith("best_") or not _is_tested(self.records[place], metric):
            return float("nan")
        return 1.0 if self._number(place, "n_found") == 0 else self._number(place, "best_p_adjusted")

    def _as_measurements(
        self, metric: str, rows: Sequence[Mapping[str, Any]], words: Sequence[str], of: str, note: str, row: str = ""
    ) -> Measurements:
        import pandas as pd

        known = [row for row in rows if all(row.get(label) != _MISSING for label in self.labels)]
        table = pd.DataFrame(known or rows)
        coordinates = [str(name) for name in table if name not in (*VALUES, OF_RUN)]
        vary = [name for name in coordinates if table[name].nunique() > 1]
        seeds = [name for name in vary if name.split(".")[-1] == "seed"]
        return Measurements(
            metric,
            table.drop_duplicates(subset=coordinates) if coordinates else table,
            [name for name in vary if name not in seeds],
            seeds,
            tuple(dict.fromkeys(word for word in words if word)),
            bool(words),
            of,
            row,
            self.labels,
            [f"{name} = {table[name].iloc[0]}" for name in self.labels if name in table and name not in vary],
            note,
        )


def _without(record: RunRecord, metric: str) -> Unedited | None:
    try:
        return without_edits(record, metric)
    except DamagedError:
        return None


def _is_tested(record: RunRecord, metric: str) -> bool:
    try:
        return is_tested(record, metric)
    except DamagedError:
        return False
