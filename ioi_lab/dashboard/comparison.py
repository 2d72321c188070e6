"""Several runs next to each other, as data: in which keys they differ, which sites they share, what can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.dashboard.entries import Entry
from ioi_lab.dashboard.index import Index
from ioi_lab.dashboard.places import RunsFolder, name_in
from ioi_lab.dashboard.results import RESULTS, ResultGrid, Results, UnreadableError
from ioi_lab.errors import LabError
from ioi_lab.reports.report import PER_PROMPT
from ioi_lab.reports.wording import counted
from ioi_lab.runs.paired import PROMPT, label_of, paired_difference
from ioi_lab.runs.table import TOP_KEYS
from ioi_lab.stats.metrics import Array
from ioi_lab.storage.tables import read_table

MAX_RUNS: Final = 8
_NO_DIFFERENCE: Final = ("name", "resume", "resume_from", "figures", "optimize", "tracker.name")
"""Keys that change no number."""

_BOTH: Final = "the prompts that a run shares with A"
_READ: Final = (RESULTS, PER_PROMPT, "prompts.csv")


@dataclass(frozen=True)
class ComparedRun:
    """A run with its keys, its results and its prompts; what it does not have is None."""

    entry: Entry
    row: Mapping[str, Any]
    results: Results | None
    labels: tuple[str, ...]
    """The selectors of each row of the results."""

    prompts: frozenset[str] | None

    @classmethod
    def read(cls, runs: RunsFolder, entry: Entry, row: Mapping[str, Any]) -> ComparedRun:
        """Read a run, whatever it has."""
        try:
            results = Results.read(runs, entry.folder, row)
        except UnreadableError:
            return cls(entry, row, None, (), None)
        path = _path(runs, entry.folder, RESULTS)
        texts = read_table(path, as_text=True) if path is not None else pd.DataFrame()
        labels = tuple(label_of(each) for each in texts.to_dict("records"))
        return cls(entry, row, results, labels, _prompts(runs, entry.folder))

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The first row of the results with each label."""
        rows: dict[str, int] = {}
        for row, label in enumerate(self.labels):
            rows.setdefault(label, row)
        return rows

    def values(self, metric: str, labels: Sequence[str]) -> Float[Array, "label"]:
        """Return a column of the results at labels; NaN for those that it does not have."""
        if self.results is None or metric not in self.results.table:
            return np.full(len(labels), np.nan)
        column = self.results.table[metric].to_numpy(dtype=float, na_value=np.nan)
        return np.array([column[self.row_of[label]] if label in self.row_of else np.nan for label in labels])


@dataclass(frozen=True)
class Difference:
    """What a run differs by from another one in the same prompts: logit differences of the edits that both have."""

    labels: list[str]
    value: Float[Array, "label"]
    low: Float[Array, "label"]
    high: Float[Array, "label"]
    found: Bool[NDArray[np.bool_], "label"]
    n_prompts: int


@dataclass(frozen=True)
class Comparison:
    """Runs that are compared; the first one is what the others are compared with."""

    runs: list[ComparedRun]

    @classmethod
    def read(cls, index: Index, folders: Sequence[str]) -> Comparison:
        """Read at most `MAX_RUNS` of the runs, those that exist."""
        known = [entry for folder in dict.fromkeys(folders) if (entry := index.get(folder)) is not None][:MAX_RUNS]
        details = index.details([entry.folder for entry in known])
        return cls([ComparedRun.read(index.runs, entry, details.get(entry.folder, {})) for entry in known])

    @cached_property
    def names(self) -> list[str]:
        """A short name per run: a letter and the folder."""
        return [f"{chr(ord('A') + place)}: {run.entry.folder}" for place, run in enumerate(self.runs)]

    @cached_property
    def with_results(self) -> list[int]:
        """Which runs have results."""
        return [place for place, run in enumerate(self.runs) if run.results is not None]

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics that all runs with results have."""
        tables = [results for place in self.with_results if (results := self.runs[place].results) is not None]
        return [name for name in tables[0].metrics if all(name in each.metrics for each in tables)] if tables else []

    @cached_property
    def common(self) -> list[str]:
        """The labels of rows that all runs with results have."""
        known = [self.runs[place].row_of for place in self.with_results]
        return [label for label in known[0] if all(label in each for each in known)] if known else []

    def grid(self, place: int, metric: str, cut: Sequence[str]) -> ResultGrid | None:
        """Return the map of a run."""
        results = self.runs[place].results
        return None if results is None else results.grid(metric, results.cut_of(cut))

    def differing_keys(self) -> list[dict[str, str]]:
        """Return the config keys whose values differ, with the value of each run."""
        keys = dict.fromkeys(key for run in self.runs for key in run.row if "." in key or key in TOP_KEYS)
        keys = {key: None for key in keys if not key.startswith("typed.") and key not in _NO_DIFFERENCE}
        keys = {key: None for key in keys if not key.endswith("._target_")}
        rows = []
        for key in keys:
            values = [_text(run.row.get(key)) for run in self.runs]
            if len(set(values)) > 1:
                rows.append({"key": key} | {f"run{place}": value for place, value in enumerate(values)})
        return rows

    def comparable(self, metric: str) -> list[str]:
        """Return in sentences what can be compared and what not."""
        if len(self.with_results) < 2:
            return ["Fewer than two of the runs have results, so only their keys and metrics can be compared."]
        runs = [self.runs[place] for place in self.with_results]
        lines = [
            f"{self.names[place][0]} has no results.csv."
            for place in range(len(self.runs))
            if place not in self.with_results
        ]
        lines.append(self._sites(runs))
        lines.append(_prompts_line([run.prompts for run in runs]))
        for what, key in (("models", "model.name"), ("tasks", "task.name"), ("interventions", "intervention.name")):
            values = list(dict.fromkeys(_text(run.row.get(key)) for run in runs))
            if len(values) > 1:
                note = "layers and heads do not correspond" if what == "models" else "read differences with care"
                lines.append(f"The {what} differ ({', '.join(values)}): {note}.")
        nulls = {run.results.null(metric) for run in runs if run.results is not None and metric in self.metrics}
        if len(nulls) > 1:
            lines.append(f"No effect is another value of {metric} in some of the runs, so maps mean different things.")
        return lines

    def _sites(self, runs: Sequence[ComparedRun]) -> str:
        every = len({label for run in runs for label in run.row_of})
        if not self.common:
            return "The runs have no site in common, so values cannot be compared site by site."
        if len(self.common) == every:
            return f"All {counted(every, 'row')} of the results are those of the same sites in each run."
        return f"{len(self.common)} of {every} sites are in all runs; the others are not compared."

    def difference(self, runs: RunsFolder, place: int) -> Difference | str:
        """Return how a run differs from the first one in the prompts of both, or why that is unknown, in words."""
        first, second = self.runs[0].entry.folder, self.runs[place].entry.folder
        for folder in (first, second):
            if any(_path(runs, folder, name) is None for name in _READ):
                return f"{folder} keeps no values by prompt"
        try:
            paired = paired_difference(runs.path / first, runs.path / second)
        except LabError as error:
            return str(error)
        if paired is None:
            return "the two runs share no prompts, or no edits"
        estimate = paired.difference
        return Difference(
            paired.labels, estimate.value, estimate.low, estimate.high, paired.discoveries.found, paired.n_prompts
        )


def _path(runs: RunsFolder, folder: str, name: str) -> Any:
    return runs.file(name_in(folder, name))


def _prompts(runs: RunsFolder, folder: str) -> frozenset[str] | None:
    path = _path(runs, folder, "prompts.csv")
    try:
        table = None if path is None else read_table(path, as_text=True)
        return None if table is None else frozenset(table[PROMPT].agg("\n".join, axis="columns"))
    except (OSError, ValueError, KeyError):
        return None


def _prompts_line(prompts: Sequence[frozenset[str] | None]) -> str:
    """Return whether runs have the same prompts, which paired differences need."""
    known = [each for each in prompts if each is not None]
    if len(known) < len(prompts):
        return "Some runs have no prompts.csv, so it is unknown whether their prompts are the same."
    shared = len(frozenset.intersection(*known))
    if all(each == known[0] for each in known):
        return f"The prompts are the same ({shared}), so differences are paired by prompt."
    if shared:
        sizes = sorted({len(each) for each in known})
        of = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        return f"{counted(shared, 'prompt')} of {of} in each run are in all runs; differences are paired over {_BOTH}."
    if len(known) > 2:
        return f"No prompt is in all runs; differences are paired over {_BOTH}, if there are any."
    return "The prompts differ, so differences are not paired: compare intervals, which are those of each run."


def _text(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
