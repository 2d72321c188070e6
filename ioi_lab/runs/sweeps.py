"""The summary of a sweep's runs: one table, and figures chosen by the swept keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.errors import LabError, did_you_mean
from ioi_lab.reports import plots
from ioi_lab.reports.plots.sizes import MAX_PANELS
from ioi_lab.runs.axes import ANYTHING, Asked, Axes, chosen_axes
from ioi_lab.runs.figure_files import PNG, Format, formats_of_sweep
from ioi_lab.runs.gathering import Gathering
from ioi_lab.runs.key_figures import KeyFigure
from ioi_lab.runs.measurements import PLACES, Measurements
from ioi_lab.runs.nulls import without_best
from ioi_lab.runs.pages import TEXTS, captions_in
from ioi_lab.runs.reading import PLOTS, RunRecord
from ioi_lab.runs.step_figures import StepFigure
from ioi_lab.runs.step_values import StepValue, step_values, table_of_steps
from ioi_lab.runs.sweep_captions import caption_of, measured_on
from ioi_lab.runs.sweep_figures import SweepFigure
from ioi_lab.runs.table import ABOUT, TOP_KEYS, is_bound, read_runs, table_of
from ioi_lab.storage.files import write_bytes, write_json
from ioi_lab.storage.tables import csv_bytes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TABLE: Final = "sweep.csv"
STEPS: Final = "steps.csv"
"""The table of the steps of studies."""


@dataclass(frozen=True)
class Sweep:
    """The runs in a folder."""

    folder: Path
    records: Sequence[RunRecord]
    metric: str | None = None
    """The metric of the figures; None: see `shown`."""

    asked: Asked = ANYTHING
    """The axes of the figures that somebody has asked for."""

    @classmethod
    def read(cls, folder: str | Path, metric: str | None = None, asked: Asked = ANYTHING) -> Sweep:
        """Read the runs in a folder.

        Raises a `LabError` if there are none, and for a metric or an axis that none of them has.
        """
        sweep = cls(Path(folder), read_runs(folder), metric, asked)
        if metric is not None and metric not in (known := [*sweep.metrics, *sweep._columns_of_numbers]):
            if not sweep.metrics:
                raise LabError(
                    f"metric: got {metric!r}, but no run in {str(folder)!r} is done, so there are no metrics"
                )
            raise LabError(f"metric: got {metric!r}{did_you_mean(metric, known)}, expected one of {', '.join(known)}")
        if asked != ANYTHING:
            sweep._labelled()
        return sweep

    @property
    def _columns_of_numbers(self) -> list[str]:
        """The columns of the runs' results that have values, without their bounds."""
        columns = self._gathering.columns
        return [name for name in columns if name not in PLACES and not is_bound(name, columns)]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The table of `load_runs`."""
        return table_of(self.records, self.folder)

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
    def swept_numbers(self) -> list[str]:
        """The swept keys whose values are numbers."""
        typed = {key: self.runs[f"typed.{key}"].dropna().tolist() for key in self.swept}
        return [key for key, values in typed.items() if all(isinstance(value, int | float) for value in values)]

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

    def table_of_steps(self) -> pd.DataFrame:
        """Return one row per step and study: its headline number with bounds, and that of the unedited run."""
        return table_of_steps(self.steps)

    # Figures

    @cached_property
    def _gathering(self) -> Gathering:
        done = self.is_done.tolist()
        records = [record for record, is_done in zip(self.records, done, strict=True) if is_done]
        wanted = [name for name in (self.asked.x, self.asked.line, self.asked.facet) if name is not None]
        return Gathering(self.runs[done].reset_index(drop=True), records, self.swept, wanted)

    def figures(self) -> dict[str, Figure]:
        """Draw the metric by the swept keys; returns the figure by its name.

        Values are changes from the unedited run, if it has the metric. Numbers are along an axis, categories are
        points, seeds are replicates, and of more than two keys each combination of the others has a panel. Single
        sites and bests of runs have figures of their own. With more than `MAX_PANELS` combinations there is a panel per
        key instead. There is no figure for fewer than two finished runs.
        """
        return {figure.name: figure.draw() for figure in self._all_figures}

    @property
    def _all_figures(self) -> list[SweepFigure | StepFigure]:
        """The figures of the metric; and of studies, that of their steps."""
        comparison = self._step_figure
        return [*self._figures, *([comparison] if comparison.is_drawn else [])]

    @cached_property
    def steps(self) -> list[StepValue]:
        """The headline numbers of the steps of each study; empty for runs that are no studies."""
        return step_values(list(zip(self._names, self.records, strict=True)))

    @property
    def _names(self) -> list[str]:
        """A name for each run: its values of the swept keys, or its folder if these are missing or not unique."""
        typed = [f"typed.{key}" for key in self.swept]
        names = [" · ".join(str(run[key]) for key in typed) for _, run in self.runs.iterrows()]
        return names if all(names) and len(set(names)) == len(names) else self.runs["folder"].astype(str).tolist()

    @cached_property
    def _step_figure(self) -> StepFigure:
        return StepFigure(
            self.steps, [*self._gathering.labels] or ["folder"], self.folder.parent.name, self._common, self._over
        )

    @cached_property
    def _figures(self) -> list[SweepFigure]:
        if self.shown is None or len(self._gathering.records) < 2:
            return []
        asked = self._labelled()
        chosen = [key for key in (asked.x, asked.line, asked.facet) if key is not None]
        figures = []
        for measured in self._gathering.measured(self.shown):
            axes = chosen_axes(measured, asked)
            has_all = all(key in measured.table for key in chosen)
            n_panels = math.prod(len(measured.values(key)) for key in axes.facet) if has_all else 0
            is_shown = bool(axes.keys) and np.isfinite(measured.table["value"]).sum() >= 2
            if has_all and is_shown:
                too_many = not chosen and n_panels > MAX_PANELS
                figures.append(self._figure(KeyFigure if too_many else SweepFigure, measured, axes))
        if chosen and not figures:
            raise LabError(
                f"--metric: {self.shown} has one value per run, so that {', '.join(chosen)} cannot be its axes; "
                f"expected a column of results.csv, such as {without_best(self.shown)}"
            )
        return figures

    def _labelled(self) -> Asked:
        """Return what was asked for by the labels of keys; raises a `LabError` for an unknown name."""
        labels, columns = self._gathering.labels, self._gathering.columns
        names = {name: name for name in columns} | {key: label for label, key in labels.items()}
        return self.asked.labelled(names | {label: label for label in labels})

    def _figure(self, kind: type[SweepFigure], measured: Measurements, axes: Axes) -> SweepFigure:
        """Return a figure with what its title says of the sweep."""
        return kind(
            measured,
            axes,
            sweep=self.folder.parent.name,
            common=self._common,
            missing=int((~self.is_done).sum()),
            over=self._over,
            measured_on=measured_on(self.runs[self.is_done]),
        )

    @property
    def _common(self) -> dict[str, str]:
        """What all finished runs have in common: the names of their groups that are the same in all."""
        done = self.runs[self.is_done]
        groups = {group: f"{group}.name" for group in ("intervention", "model", "task", "source", "target")}
        shared = {group: done[name] for group, name in groups.items() if name in done and done[name].nunique() == 1}
        return {group: str(names.iloc[0]) for group, names in shared.items()}

    @property
    def _over(self) -> str:
        """What the intervals of all runs are taken over; empty if that is not known."""
        if "alignment.method" in self.runs:  # a key at the top of `ioi-lab align`, whose intervals have no choice
            return "texts"
        over = self.runs["stats.over"].dropna().unique().tolist() if "stats.over" in self.runs else []
        return str(over[0]) if len(over) == 1 else ""

    @cached_property
    def captions(self) -> dict[str, str]:
        """How to read each of the figures, by name."""
        captions = {figure.name: caption_of(figure) for figure in self._figures}
        return captions | ({self._step_figure.name: self._step_figure.caption} if self._step_figure.is_drawn else {})

    def write(self, formats: Sequence[Format] = ()) -> dict[str, list[Path]]:
        """Write `sweep.csv` and the figures into the folder; returns the files of each figure by its name, PNG first.

        `formats`: those of the files in addition to PNG; by default, those that the runs ask for.
        """
        write_bytes(self.folder / TABLE, csv_bytes(self.table()))
        if self.steps:
            write_bytes(self.folder / STEPS, csv_bytes(self.table_of_steps()))
        kinds = (
            dict.fromkeys((PNG, *formats)) if formats else formats_of_sweep(record.folder for record in self.records)
        )
        paths: dict[str, list[Path]] = {}
        for name, figure in self.figures().items():
            paths[name] = [self.folder / PLOTS / f"{name}.{kind}" for kind in kinds]
            for path, kind in zip(paths[name], kinds, strict=True):
                write_bytes(path, plots.image(figure, kind))
        write_json(self.folder / TEXTS, {"captions": self._earlier_captions() | self.captions})
        return paths

    def _earlier_captions(self) -> dict[str, str]:
        """Return the captions of figures of other metrics or axes that lie in the folder."""
        return {
            name: text
            for name, text in captions_in(self.folder).items()
            if (self.folder / PLOTS / f"{name}.png").is_file()
        }

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
        for figure in self._figures:
            if isinstance(figure, KeyFigure):
                lines.append(
                    f"  {figure.name}: a panel per key, as there are more than {MAX_PANELS} combinations of them"
                )
            elif figure.axes.chosen:
                lines.append(f"  {figure.name}: {', '.join(figure.axes.chosen)} (chosen; see `runs summarize --help`)")
        return lines
