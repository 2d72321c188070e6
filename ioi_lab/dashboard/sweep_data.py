"""The runs of a folder as points: a metric by up to three of the keys in which the runs differ."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, Final

from ioi_lab.dashboard.entries import Entry
from ioi_lab.dashboard.index import Index
from ioi_lab.runs.nulls import Unedited, unedited
from ioi_lab.runs.table import ABOUT, TOP_KEYS, is_bound

NONE: Final = "-"
"""The choice of no key."""

_NO_KEYS: Final = ("name", "resume", "resume_from", "figures", "optimize", "tracker", "tracker.name", "hydra/launcher")
_NO_METRICS: Final = ("check_everything", "check_nothing", "best_row", "held_out_row")
MAX_RUNS: Final = 20_000
"""The greatest number of runs of a page: the newest."""

Value = str | float


@dataclass(frozen=True)
class Point:
    """The runs that have the same values of the chosen keys."""

    x: Value
    line: str
    facet: str
    value: float
    """The mean over the runs."""

    low: float
    high: float
    """The interval of a single run; of several, the lowest and the highest value. The value itself if unknown."""

    folders: tuple[str, ...]
    unedited: float | None = None
    """The mean of the same metric in these runs without edits; None if it is unknown in some of them."""


@dataclass(frozen=True)
class Choice:
    """The keys of the axes, and the metric; a key is `NONE` if it is not used."""

    x: str
    line: str
    facet: str
    metric: str

    @property
    def keys(self) -> list[str]:
        """The keys that are used."""
        return [key for key in (self.x, self.line, self.facet) if key != NONE]


@dataclass(frozen=True)
class SweepData:
    """The runs of a folder with their keys and metrics."""

    folder: str
    entries: list[Entry]
    rows: Sequence[Mapping[str, Any]]
    """The row of `load_runs` of each finished run."""

    @classmethod
    def read(cls, index: Index, folder: str) -> SweepData:
        """Return the runs of a folder and below it; of studies below it, the studies alone without their steps."""
        start = "" if folder in ("", ".") else f"{folder}/"
        entries = [entry for entry in index.entries() if entry.folder.startswith(start) or entry.folder == folder]
        studies = {entry.folder for entry in entries} - {folder}
        entries = [entry for entry in entries if entry.folder.rpartition("/")[0] not in studies]
        done = [entry.folder for entry in entries if entry.status == "done"][:MAX_RUNS]
        rows = [row | {"folder": name} for name, row in index.details(done).items()]
        return cls(folder, entries, rows)

    @cached_property
    def keys(self) -> list[str]:
        """The keys in which the runs differ, without what changes no number: those that were typed first."""
        typed = [key for row in self.rows for key in row if key.startswith("typed.")]
        named = [key.removeprefix("typed.") for key in dict.fromkeys(typed)]
        config = list(dict.fromkeys(key for row in self.rows for key in row if "." in key or key in TOP_KEYS))
        others = [key for key in config if not key.startswith("typed.") and not key.endswith("._target_")]
        differing = [key for key in dict.fromkeys([*named, *others]) if key not in _NO_KEYS and self._n_values(key) > 1]
        of_typed = [key for key in differing if key in named]
        return [*of_typed, *(key for key in differing if key not in named and not self._follows(key, of_typed))]

    def _n_values(self, key: str) -> int:
        return len({_hashable(self.value(row, key)) for row in self.rows})

    def _follows(self, key: str, others: Sequence[str]) -> bool:
        """Return whether a key's value follows from the typed ones: `model.path` from `model`."""
        seen: dict[tuple[Any, ...], Any] = {}
        for row in self.rows:
            group = tuple(_hashable(self.value(row, other)) for other in others)
            if seen.setdefault(group, _hashable(self.value(row, key))) != _hashable(self.value(row, key)):
                return False
        return True

    @staticmethod
    def value(row: Mapping[str, Any], key: str) -> Any:
        """Return the value of a key in a run: as it was typed, or as it is in the config; `default` for neither."""
        typed = row.get(f"typed.{key}")
        value = row.get(key) if typed is None else typed
        return "default" if value is None else value

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics of the runs, their headlines first."""
        about = {*ABOUT, *TOP_KEYS, "path"}
        names = dict.fromkeys(key for row in self.rows for key in row if "." not in key and key not in about)
        numbers = [
            name
            for name in names
            if name not in _NO_METRICS
            and not is_bound(name, list(names))
            and any(_is_number(r.get(name)) for r in self.rows)
        ]
        headlines = [entry.headline for entry in self.entries if entry.headline]
        first = dict.fromkeys(sorted(set(headlines), key=lambda name: -headlines.count(name)))
        return [*(name for name in first if name in numbers), *(name for name in numbers if name not in first)]

    @cached_property
    def numeric(self) -> set[str]:
        """The keys of which all values are numbers."""
        return {key for key in self.keys if all(_is_number(self.value(row, key)) for row in self.rows)}

    def choice(self, x: str = "", line: str = "", facet: str = "", metric: str = "") -> Choice:
        """Return the choice of a reader, completed: the numbers with most values become x; seeds are replicates."""
        free = [key for key in self.keys if key != "seed" and not key.endswith(".seed")]
        free = sorted(free, key=lambda key: (key not in self.numeric, -self._n_values(key)))
        free = free or self.keys[:1]
        allowed = {*self.keys, NONE}
        given = {"x": x if x in self.keys else "", "line": line if line in allowed else ""}
        given["facet"] = facet if facet in allowed else ""
        taken = {value for value in given.values() if value and value != NONE}
        left = [key for key in free if key not in taken]
        chosen = {}
        for axis, value in given.items():
            chosen[axis] = value or (left.pop(0) if left else (self.keys[0] if axis == "x" and self.keys else NONE))
        return Choice(**chosen, metric=metric if metric in self.metrics else next(iter(self.metrics), ""))

    def points(self, choice: Choice) -> list[Point]:
        """Return the points of a choice: by x in ascending order, texts in the order of the runs' folders."""
        groups: dict[tuple[Value, str, str], list[Mapping[str, Any]]] = defaultdict(list)
        for row in self._in_order:
            if _is_number(row.get(choice.metric)):
                x = self.value(row, choice.x) if choice.x != NONE else ""
                at = (float(x) if choice.x in self.numeric else text_of(x)) if choice.x != NONE else ""
                line, facet = (text_of(self.value(row, k)) if k != NONE else "" for k in (choice.line, choice.facet))
                groups[at, line, facet].append(row)
        points = [_point(place, rows, choice.metric) for place, rows in groups.items()]
        return sorted(points, key=lambda point: point.x) if all(_is_number(p.x) for p in points) else points

    @cached_property
    def _in_order(self) -> list[Mapping[str, Any]]:
        return sorted(self.rows, key=lambda row: _natural(str(row["folder"])))

    def pooled(self, choice: Choice) -> list[str]:
        """Return the keys in which the runs of one point may differ; none if each point is one run."""
        are_single = all(len(point.folders) == 1 for point in self.points(choice))
        return [] if are_single else [key for key in self.keys if key not in choice.keys]

    def unedited(self, metric: str) -> Unedited | None:
        """Return the value of a metric without edits, if the runs with it agree in what that is: its mean over them."""
        found = [of_run for row in self.rows if row.get(metric) is not None and (of_run := _unedited(row, metric))]
        names = {each.run or "no effect" for each in found}
        return Unedited(fmean(each.value for each in found), names.pop()) if len(names) == 1 else None

    def levels(self, key: str) -> list[str]:
        """Return the texts of a key's values: numbers in ascending order, texts in the order of the runs."""
        if key == NONE:
            return [""]
        values = [self.value(row, key) for row in self._in_order]
        ordered = sorted(values) if key in self.numeric else values
        return list(dict.fromkeys(map(text_of, ordered)))


def sweeps_of(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Return the jobs of each sweep, the newest sweep first."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.sweep:
            found[entry.sweep].append(entry)
    return dict(found)


def text_of(value: Any) -> str:
    """Return a value of a key as text: `0.5`, `−1` as `-1`, `default`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _point(place: tuple[Value, str, str], rows: Sequence[Mapping[str, Any]], metric: str) -> Point:
    values = [float(row[metric]) for row in rows]
    low, high = min(values), max(values)
    if len(rows) == 1:
        bounds = [rows[0].get(f"{metric}_{end}") for end in ("low", "high")]
        low, high = (float(bound) if isinstance(bound, int | float) else values[0] for bound in bounds)
    levels = [of_run.value for row in rows if (of_run := _unedited(row, metric)) is not None]
    level = fmean(levels) if len(levels) == len(rows) else None
    return Point(*place, fmean(values), low, high, tuple(str(row["folder"]) for row in rows), level)


def _unedited(row: Mapping[str, Any], metric: str) -> Unedited | None:
    keys = {key.removeprefix("intervention."): row[key] for key in row if key.startswith("intervention.")}
    return unedited(metric, keys, row)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _hashable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _natural(folder: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in folder.split("/")]
