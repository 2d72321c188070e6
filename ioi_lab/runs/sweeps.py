"""The summary of a sweep's runs: one table, and figures chosen by the swept keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ioi_lab.errors import LabError
from ioi_lab.reports import plots
from ioi_lab.reports.plots import Array
from ioi_lab.reports.wording import map_note
from ioi_lab.runs.nulls import null_value
from ioi_lab.runs.table import ABOUT, TOP_KEYS, is_bound, load_runs
from ioi_lab.stats.discoveries import FALSE_DISCOVERY_RATE, adjusted
from ioi_lab.storage.files import write_bytes
from ioi_lab.storage.tables import csv_bytes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Cells = NDArray[np.bool_]

TABLE: Final = "sweep.csv"
MAX_SWEPT_KEYS: Final = 3
"""The largest number of swept keys that a figure can show."""

MAX_MAPS: Final = 12
"""The largest number of values of a third key that are shown, evenly spread over all of them."""


@dataclass(frozen=True)
class Sweep:
    """The runs in a folder."""

    folder: Path
    runs: pd.DataFrame
    """The table of `load_runs`."""

    metric: str | None = None
    """The metric of the figures; None: see `shown`."""

    @classmethod
    def read(cls, folder: str | Path, metric: str | None = None) -> Sweep:
        """Read the runs in a folder; raises a `LabError` if there are none, and for a metric that none of them has."""
        sweep = cls(Path(folder), load_runs(folder), metric)
        if metric is not None and metric not in sweep.metrics:
            close = get_close_matches(metric, sweep.metrics, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            if not sweep.metrics:
                raise LabError(
                    f"metric: got {metric!r}, but no run in {str(folder)!r} is done, so there are no metrics"
                )
            raise LabError(f"metric: got {metric!r}{hint}, expected one of {', '.join(sweep.metrics)}")
        return sweep

    @property
    def is_done(self) -> pd.Series[bool]:
        """Whether each run is done: only these count."""
        return self.runs["status"] == "done"

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics, without their bounds."""
        return [name for name in self._metric_columns if not is_bound(name, self._metric_columns)]

    @cached_property
    def _metric_columns(self) -> list[str]:
        others = {*ABOUT, "path", *TOP_KEYS}
        return [str(name) for name in self.runs if "." not in str(name) and name not in others]

    @cached_property
    def swept(self) -> list[str]:
        """The keys whose typed values differ, in the order in which they were typed."""
        typed = [str(name) for name in self.runs if str(name).startswith("typed.")]
        return [name.removeprefix("typed.") for name in typed if self.runs[name].nunique(dropna=False) > 1]

    @property
    def shown(self) -> str | None:
        """The metric of the figures: `metric`, or what a search has optimized, or the headline of most runs."""
        if self.metric is not None:
            return self.metric
        searched = self.runs["optimize"].dropna().unique().tolist() if "optimize" in self.runs else []
        if len(searched) == 1 and searched[0] in self.metrics:
            return str(searched[0])
        headlines = self.runs.loc[self.is_done, "headline"].mode().tolist() if "headline" in self.runs else []
        return str(headlines[0]) if headlines else None

    def table(self) -> pd.DataFrame:
        """Return one row per run: its folder, the swept keys, status, seconds, error, metrics with their bounds."""
        about = [name for name in ("status", "seconds", "error") if name in self.runs]
        columns = ["folder", *(f"typed.{key}" for key in self.swept), *about]
        table = self.runs[[*columns, *self._metric_columns]]
        return table.rename(columns=lambda name: str(name).removeprefix("typed."))

    # Figures

    def figures(self) -> dict[str, Figure]:
        """Draw the metric by the swept keys; returns the figure by its name.

        One key gives a line with its interval, two keys a map (or lines, for the scattered values of a search), three
        keys a map per value of the third. There is no figure for more keys, or for fewer than two finished runs.
        """
        done = self.runs[self.is_done]
        if self.shown is None or not 1 <= len(self.swept) <= MAX_SWEPT_KEYS or len(done) < 2 or self.shown not in done:
            return {}
        name = f"{self.shown}_by_{'_'.join(key.split('.')[-1] for key in self._keys)}"
        return {name: self._lines() if len(self._keys) == 1 or self._is_search else self._maps()}

    @property
    def _is_search(self) -> bool:
        """Whether the values of two keys are scattered, so that most of a map would be empty."""
        if len(self._keys) != 2 or not self._is_number(max(self._keys, key=lambda key: len(self._values(key)))):
            return False
        return self._grid(str(self.shown)).size >= 2 * len(self.runs)

    def _is_number(self, key: str) -> bool:
        return all(isinstance(value, int | float) for value in self._values(key))

    @cached_property
    def _keys(self) -> list[str]:
        """The swept keys in the order of the axes: layers × heads, as in head maps, then the keys with most values."""
        places = {"layer": 0, "head": 1}
        names = [key.split(".")[-1] for key in self.swept]
        if not places.keys() <= set(names):
            places.pop("head")
        order = {key: places.get(name, 2) for key, name in zip(self.swept, names, strict=True)}
        return sorted(self.swept, key=lambda key: (order[key], -len(self._values(key)) if len(names) > 2 else 0))

    def _values(self, key: str) -> list[Any]:
        """Return the values of a swept key: in ascending order if they are numbers, else in that of the runs."""
        values = list(dict.fromkeys(self.runs[f"typed.{key}"].dropna().tolist()))
        return sorted(values) if all(isinstance(value, int | float) for value in values) else values

    def _axis(self, key: str) -> plots.Axis:
        return plots.Axis(self._label(key), [_tick(value) for value in self._values(key)])

    def _label(self, key: str) -> str:
        """Return the last part of a key's name, or the whole name if another swept key ends in the same part."""
        label = key.split(".")[-1]
        return label if sum(other.split(".")[-1] == label for other in self.swept) == 1 else key

    def _cases(self, key: str) -> list[str]:
        """Return the names of a key's values, such as `layer = 3`."""
        axis = self._axis(key)
        return [f"{axis.label} = {tick}" for tick in axis.ticks]

    def _grid(self, metric: str) -> Array:
        """Return the metric as an array with an axis per swept key; NaN without a finished run."""
        import pandas as pd

        return self._grid_of(self.runs[metric] if metric in self.runs else pd.Series(np.nan, self.runs.index))

    def _grid_of(self, column: pd.Series[float]) -> Array:
        """Return a value per run as an array with an axis per swept key; NaN without a finished run."""
        values = [self._values(key) for key in self._keys]
        grid = np.full([len(each) for each in values], np.nan)
        places = [{value: place for place, value in enumerate(each)} for each in values]
        typed = [self.runs.loc[self.is_done, f"typed.{key}"].tolist() for key in self._keys]
        for value, *own in zip(column[self.is_done].tolist(), *typed, strict=True):
            index = tuple(known.get(each) for known, each in zip(places, own, strict=True))
            if None not in index and value == value:
                grid[index] = value
        return grid

    @property
    def _title(self) -> str:
        done = self.runs[self.is_done]
        fixed = [
            str(done[name].iloc[0])
            for name in ("intervention.name", "model.name", "task.name")
            if name in done and done[name].nunique() == 1
        ]
        missing = len(self.runs) - len(done)
        note = f", {missing} missing" if missing else ""
        return f"{' · '.join([_words(str(self.shown)), *fixed])}\n{self.folder.parent.name}: {len(done)} runs{note}"

    def _lines(self) -> Figure:
        """Draw the metric along the key with the most values, with a line per value of the other key, if any."""
        assert self.shown is not None
        along = max(self._keys, key=lambda key: len(self._values(key)))
        axis = self._axis(along)
        if self._is_number(along):
            axis = replace(axis, places=self._values(along))
        grids = [self._grid(f"{self.shown}{bound}") for bound in ("", "_low", "_high")]
        others = [key for key in self._keys if key != along]
        names = self._cases(others[0]) if others else [_words(self.shown)]
        rows = [np.moveaxis(grid, self._keys.index(along), -1).reshape(len(names), -1) for grid in grids]
        colours = plots.shades(len(names)) if others else [plots.POSITIVE]
        values, low, high = rows
        parts = zip(names, values, low, high, colours, strict=True)
        lines = [plots.Line(*part) for part in parts]
        return plots.line_panels(axis, [plots.LinePanel(_words(self.shown), lines)], self._title, "95 % intervals")

    def _maps(self) -> Figure:
        """Draw maps of the metric; cells of a metric of effects that show none beyond chance are pale."""
        assert self.shown is not None
        axes = [self._axis(key) for key in self._keys]
        grid, (pale, note) = self._grid(self.shown), self._without_effect(self.shown)
        title = self._title
        pick: dict[str, tuple[Any, ...]] = {"": (slice(None), slice(None))}
        if len(axes) == 3:
            cases = self._cases(self._keys[2])
            chosen = np.unique(np.linspace(0, len(cases) - 1, min(len(cases), MAX_MAPS)).round().astype(int)).tolist()
            pick = {cases[index]: (slice(None), slice(None), index) for index in chosen}
            title += f", {len(chosen)} of {len(cases)} values of {axes[2].label}" if len(chosen) < len(cases) else ""
        return plots.heat_maps(
            {name: grid[cells] for name, cells in pick.items()},
            axes[0],
            axes[1],
            title + note,
            _words(self.shown),
            floor=plots.EFFECT_FLOOR if self._nulls(self.shown) is not None else 0.0,
            pale=None if pale is None else {name: pale[cells] for name, cells in pick.items()},
        )

    def _nulls(self, metric: str) -> pd.Series[float] | None:
        """Return the value of a metric without effect in each run; None for a metric that is not of effects."""
        import pandas as pd

        prefix = "intervention."
        names = {name: str(name).removeprefix(prefix) for name in self.runs if str(name).startswith(prefix)}
        configs = self.runs[list(names)].rename(columns=names).to_dict("records")
        nulls = [null_value(metric, {str(key): value for key, value in config.items()}) for config in configs]
        return None if None in nulls else pd.Series(nulls, self.runs.index, dtype=float)

    def _without_effect(self, metric: str) -> tuple[Cells | None, str]:
        """Return the cells whose effect is not beyond chance, and the last line of the title that explains them.

        For the best effect of each run this is the test of that run, corrected for its own effects and then for the
        number of cells (Benjamini and Hochberg); for other effects, whether the interval includes the null value. It is
        None for a metric that is not of effects, and if there is nothing that it could be decided by.
        """
        if (nulls := self._nulls(metric)) is None:
            return None, ""
        p_value, n_found = self._grid("best_p_adjusted"), self._grid("n_found")
        if metric.startswith("best_") and (is_known := np.isfinite(p_value)).any():
            found = np.zeros(p_value.shape, dtype=bool)
            found[is_known] = adjusted(p_value[is_known]) < FALSE_DISCOVERY_RATE
            pale = ~(found & (n_found > 0))
            return pale, map_note(is_outlined=False, is_pale=bool(pale[np.isfinite(self._grid(metric))].any()))
        low, high, null = self._grid(f"{metric}_low"), self._grid(f"{metric}_high"), self._grid_of(nulls)
        if not np.isfinite(low).any():
            return None, "\nwithout intervals: each effect may be chance"
        with np.errstate(invalid="ignore"):
            pale = ~((low > null) | (high < null))
        some = bool(pale[np.isfinite(self._grid(metric))].any())
        return pale, "\npale, without number: the cell's own interval includes the value without effect" if some else ""

    def write(self) -> dict[str, Path]:
        """Write `sweep.csv` and the figures into the folder; returns the paths of the figures by name."""
        write_bytes(self.folder / TABLE, csv_bytes(self.table()))
        paths = {}
        for name, figure in self.figures().items():
            paths[name] = self.folder / "plots" / f"{name}.png"
            write_bytes(paths[name], plots.png(figure))
        return paths

    def lines(self) -> list[str]:
        """Return the summary in lines for the terminal: the number of runs by status, then each unfinished run."""
        counts = self.runs["status"].value_counts().to_dict()
        by_status = ", ".join(f"{count} {status}" for status, count in counts.items())
        taken = int(self.runs["taken_from"].notna().sum()) if "taken_from" in self.runs else 0
        note = f", {taken} of them taken from earlier runs" if taken else ""
        lines = [f"{self.folder}: {len(self.runs)} runs ({by_status}{note}), summary in {self.folder / TABLE}"]
        for _, run in self.runs[~self.is_done].iterrows():
            typed = ", ".join(f"{key}={run[f'typed.{key}']}" for key in self.swept)
            reason = f": {run['error']}" if isinstance(run.get("error"), str) else ""
            lines.append(f"  {run['folder']} ({typed}): {run['status']}{reason}")
        if len(self.swept) > MAX_SWEPT_KEYS:
            lines.append(f"  no figure: {len(self.swept)} keys were swept, a figure can show {MAX_SWEPT_KEYS}")
        return lines


def _words(metric: str) -> str:
    return metric.replace("logit_diff", "logit_difference").replace("_", " ")


def _tick(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace("-", "−") if isinstance(value, int | float) else text
