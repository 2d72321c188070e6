"""The results of a run as a grid: which columns are selectors, which are metrics, and a metric by two selectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from ioi_lab.dashboard.places import RunsFolder, name_in
from ioi_lab.reports.report import PER_PROMPT, SELECTORS
from ioi_lab.runs.nulls import Unedited, null_value, unedited
from ioi_lab.runs.table import is_bound
from ioi_lab.stats.discoveries import FALSE_DISCOVERY_RATE
from ioi_lab.stats.metrics import Array
from ioi_lab.storage.tables import read_table

RESULTS: Final = "results.csv"
PLACE: Final = "place"
"""The column of the component and the layer together, in runs that read several components of each layer."""

_AXES: Final = (PLACE, "layer", "head", "position", "scale", "k")
"""Selectors that become an axis if they vary, the first ones first."""

NUMBERS: Final = ("source_layer", "source_head", "k", "edges_asked")
"""Numeric columns that are selectors of some interventions."""

NOT_METRICS: Final = ("edges_kept", "nodes", "p_value", "p_adjusted")
_REMARKS: Final = ("roles",)
"""Columns of text that say something of a row and do not select it."""

_MAX_MB: Final = 50
FIRST: Final = ("recovery", "direct_effect", "faithfulness", "logit_diff")
"""Metrics that are shown first if a run has them."""


class UnreadableError(Exception):
    """A file of a run cannot be shown; says why in one line."""


@dataclass(frozen=True)
class Results:
    """The table `results.csv` of a run."""

    table: pd.DataFrame
    intervention: Mapping[str, Any]
    """The keys of the intervention, which tell what no effect is."""

    run: Mapping[str, Any] = field(default_factory=dict)
    """The keys and metrics of the run."""

    @classmethod
    def read(cls, runs: RunsFolder, folder: str, row: Mapping[str, Any]) -> Results:
        """Return the results of a run, whose keys and metrics are `row`; raises `UnreadableError`."""
        keys = {key.removeprefix("intervention."): row[key] for key in row if key.startswith("intervention.")}
        return cls(with_places(read_csv(runs, folder, RESULTS)), keys, row)

    @cached_property
    def metrics(self) -> list[str]:
        """The names of the metrics, those that are shown first first."""
        names = [str(name) for name in self.table]
        found = [
            name
            for name in names
            if pd.api.types.is_numeric_dtype(self.table[name])
            and name not in (*SELECTORS, *NUMBERS, *NOT_METRICS)
            and not is_bound(name, names)
            and self.table[name].notna().any()
        ]
        return sorted(found, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))

    @cached_property
    def selectors(self) -> dict[str, list[Any]]:
        """The selectors that vary, with their values; numbers in ascending order."""
        names = [
            str(name)
            for name in self.table
            if name in (*SELECTORS, *NUMBERS)
            or (not pd.api.types.is_numeric_dtype(self.table[name]) and name not in _REMARKS)
        ]
        if "k" in names and "edges_asked" in names:
            names.remove("edges_asked")
        values = {name: _values(self.table[name]) for name in names}
        return {name: each for name, each in values.items() if len(each) > 1 or (len(each) and self._some_lack(name))}

    def _some_lack(self, name: str) -> bool:
        return bool(self.table[name].isna().any())

    @cached_property
    def axes(self) -> tuple[str, str | None]:
        """The selectors of rows and columns; no column selector if only one varies, or none."""
        ranked = [name for name in _AXES if len(self.selectors.get(name, ())) > 1]
        others = sorted(
            (name for name in self.selectors if name not in _AXES and len(self.selectors[name]) > 1),
            key=lambda name: -len(self.selectors[name]),
        )
        chosen = [*ranked, *others]
        if not chosen:
            return "layer", None
        if len(chosen) == 1:
            return chosen[0], None
        if chosen[:2] == ["head", "position"] or chosen[0] in ("position", "scale", "k"):
            chosen[:2] = [chosen[1], chosen[0]]
        return chosen[0], chosen[1]

    @cached_property
    def cuts(self) -> dict[str, list[str]]:
        """The selectors that are no axis, with the texts of their values: one of each is shown."""
        return {
            name: [_text(value) for value in values]
            for name, values in self.selectors.items()
            if name not in self.axes and len(values) > 1
        }

    def cut_of(self, texts: Sequence[str]) -> dict[str, str]:
        """Return the value of each cut: those in texts such as `scale=4.0`, and for the others the commonest."""
        given = dict(text.partition("=")[::2] for text in texts)
        commonest = {name: Counter(self.table[name].map(_text)).most_common(1)[0][0] for name in self.cuts}
        return {name: given[name] if given.get(name) in self.cuts[name] else commonest[name] for name in self.cuts}

    def null(self, metric: str) -> float | None:
        """Return the value of a metric without any effect; None for a metric that is not the size of an effect."""
        return null_value(metric, self.intervention)

    def unedited(self, metric: str) -> Unedited | None:
        """Return the value of a metric in the run without edits, at which its colours are white; None without one."""
        null = self.null(metric)
        return unedited(metric, self.intervention, self.run) if null is None else Unedited(null, "no effect")

    def grid(self, metric: str, cut: Mapping[str, str]) -> ResultGrid:
        """Return a metric by the two axes, for a value of each cut."""
        kept = np.ones(len(self.table), dtype=bool)
        for name, value in cut.items():
            kept &= (self.table[name].map(_text) == value).to_numpy()
        across, along = self.axes[0], self.axes[1]
        shown = self.table[kept]
        rows = _values(shown[across]) if across in shown else []
        columns = _values(shown[along]) if along is not None else [None]
        row_of = np.full((max(len(rows), 1), len(columns)), -1, dtype=np.int64)
        places = (
            {_text(value): place for place, value in enumerate(rows)},
            {_text(value): place for place, value in enumerate(columns)},
        )
        for row, first, second in zip(
            np.flatnonzero(kept).tolist(),
            shown[across].map(_text) if across in shown else [""] * len(shown),
            shown[along].map(_text) if along is not None else [""] * len(shown),
            strict=True,
        ):
            cell = (places[0].get(first, 0 if not rows else -1), places[1].get(second, 0 if along is None else -1))
            if -1 not in cell and row_of[cell] == -1:
                row_of[cell] = row
        return ResultGrid(
            self, metric, across, along, [_text(v) for v in rows] or ["all"], [_text(v) for v in columns], row_of
        )

    def name_of(self, row: int) -> str:
        """Return the selectors of a row as text: `z 9.6 at END`."""
        return row_name(self.table.iloc[row].to_dict())

    def site_of(self, row: int) -> str:
        """Return the head or the layer of a row, such as `9.6` or `9`; nothing if it has none."""
        if "layer" not in self.table or not 0 <= row < len(self.table):
            return ""
        layer, head = (_text(self.table[name].iloc[row]) if name in self.table else "" for name in ("layer", "head"))
        return f"{layer}.{head}" if layer and head else layer

    def not_found(self, metric: str) -> Bool[NDArray[np.bool_], "row"] | None:
        """Return which rows show no effect beyond chance; None if the metric is no effect, or that is unknown."""
        null, table = self.null(metric), self.table
        if null is None:
            return None
        if metric == "recovery" and "p_adjusted" in table and table["p_adjusted"].notna().any():
            return (~(table["p_adjusted"] < FALSE_DISCOVERY_RATE)).to_numpy()
        if f"{metric}_low" not in table or not table[f"{metric}_low"].notna().any():
            return None
        return (~((table[f"{metric}_low"] > null) | (table[f"{metric}_high"] < null))).to_numpy()


@dataclass(frozen=True)
class ResultGrid:
    """A metric by two selectors: which row of the results each cell shows, −1 for none."""

    results: Results
    metric: str
    across: str
    """The selector of the rows."""

    along: str | None
    rows: list[str]
    columns: list[str]
    row_of: Int[NDArray[np.int64], "row column"]

    def column(self, name: str) -> Float[Array, "row column"]:
        """Return a column of the results in the cells; NaN for cells without a row, and for an unknown column."""
        values = np.full(self.row_of.shape, np.nan)
        if name in self.results.table:
            known = self.row_of >= 0
            values[known] = self.results.table[name].to_numpy(dtype=float, na_value=np.nan)[self.row_of[known]]
        return values

    @property
    def values(self) -> Float[Array, "row column"]:
        """The metric in the cells."""
        return self.column(self.metric)

    @property
    def not_found(self) -> Bool[NDArray[np.bool_], "row column"]:
        """The cells without an effect beyond chance; none if that is unknown."""
        of_row = self.results.not_found(self.metric)
        return np.zeros(self.row_of.shape, dtype=bool) if of_row is None else (self.row_of >= 0) & of_row[self.row_of]


def with_places(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with component and layer in one column, if there are several of both and no heads."""
    if not {"component", "layer", "head"} <= set(table) or table["head"].notna().any():
        return table
    if table["component"].nunique() < 2 or table["layer"].nunique() < 2:
        return table
    layers = table["layer"].map(_text)
    places = (layers + " " + table["component"].astype(str)).str.strip()
    first = table.assign(place=places).drop(columns=["component", "layer"])
    return first[[PLACE, *(name for name in first if name != PLACE)]]


def row_name(row: Mapping[Any, Any]) -> str:
    """Return the selectors of a row as text: `z 9.6 at END, scale 4`."""
    known = {key: value for key, value in row.items() if not _is_missing(value)}
    layer, head = known.get("layer"), known.get("head")
    site = _text(layer) if head is None else f"{_text(layer)}.{_text(head)}"
    words = [
        _text(known.get(PLACE, "")),
        _text(known.get("component", "")),
        site if layer is not None else "",
        _text(known.get("sites", "")),
    ]
    words.append(f"at {_text(known['position'])}" if known.get("position", "all") != "all" else "")
    extra = [f"{key} {_text(known[key])}" for key in ("scale", "direction", "order", "run", "vector") if key in known]
    return ", ".join(filter(None, [" ".join(filter(None, words)), *extra])) or "all"


def read_csv(runs: RunsFolder, folder: str, name: str) -> pd.DataFrame:
    """Return a table of a run; raises `UnreadableError` if there is none in its folder, or one that is no table."""
    path = _file(runs, folder, name)
    try:
        return read_table(path)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{name} cannot be read: {' '.join(str(error).split())[:200]}") from error


def read_prompts(runs: RunsFolder, folder: str, row: int) -> pd.DataFrame:
    """Return the prompts of a run with what a row of its results does to each; raises `UnreadableError`."""
    path = _file(runs, folder, PER_PROMPT)
    try:
        values = pd.read_parquet(path, filters=[("row", "==", row)])
        prompts = read_csv(runs, folder, "prompts.csv")
        texts = prompts.drop(columns=[name for name in values if name in prompts])
        return values.drop(columns="row").join(texts, on="prompt")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"{PER_PROMPT} cannot be read: {' '.join(str(error).split())[:200]}") from error


def _file(runs: RunsFolder, folder: str, name: str) -> Path:
    path = runs.file(name_in(folder, name))
    if path is None or not path.is_file():
        raise UnreadableError(f"this run has no {name}")
    if path.stat().st_size > _MAX_MB * 1e6:
        raise UnreadableError(f"{name} has more than {_MAX_MB} MB")
    return path


def _values(column: pd.Series[Any]) -> list[Any]:
    """Return the different values of a column: numbers in ascending order, texts in the order of the rows."""
    values = list(dict.fromkeys(column.dropna().tolist()))
    return sorted(values) if pd.api.types.is_numeric_dtype(column) else values


def _text(value: Any) -> str:
    if _is_missing(value):
        return ""
    if isinstance(value, float | np.floating):
        return f"{value:g}"
    return str(value)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value != value
