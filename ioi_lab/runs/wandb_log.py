"""What is logged to a W&B run: its history, which makes charts without clicks, figures, pages, tables and tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.reports.charts import Chart, Curves, Map, Ranking, bars_of, cells_of, lines_of

if TYPE_CHECKING:
    import pandas as pd
    import wandb

BOUNDS: Final = "ci/"
"""The section of a workspace that has the bounds of intervals, out of the way of what they bound."""

TABLES: Final = "tables/"
MAX_ROWS: Final = 10_000
"""The greatest number of rows of a table: W&B shows no more."""

Row = dict[str, float]


def define_steps(run: wandb.Run, charts: Sequence[Chart]) -> None:
    """Make each curve's own steps the horizontal axis of its charts."""
    for step in dict.fromkeys(step_of(chart) for chart in charts if isinstance(chart, Curves)):
        run.define_metric(step, hidden=True, summary="none")
    for chart in charts:
        if isinstance(chart, Curves):
            for section in (chart.name, f"{BOUNDS}{chart.name}"):
                run.define_metric(f"{section}/*", step_metric=step_of(chart), step_sync=False, summary="none")


def step_of(chart: Curves) -> str:
    """Return the name of a chart's steps: `layer`, also of the column `intervention.layer` of a sweep."""
    return chart.along.split(".")[-1]


def history(charts: Sequence[Chart], tables: Mapping[str, pd.DataFrame]) -> list[Row]:
    """Return the rows of the history: one per step (a scale, a layer, a position) with all curves along it."""
    rows: dict[str, dict[float, Row]] = defaultdict(dict)
    for chart in charts:
        if not isinstance(chart, Curves) or chart.table not in tables:
            continue
        axis = step_of(chart)
        for line in lines_of(chart, tables[chart.table]):
            key = f"{chart.name}/{line.name}"
            for step, value, low, high in zip(line.steps, line.values, line.low, line.high, strict=True):
                row = rows[axis].setdefault(step, {axis: step})
                values = {key: value, f"{BOUNDS}{key}_low": low, f"{BOUNDS}{key}_high": high}
                row |= {name: number for name, number in values.items() if number == number}
    return [by_step[step] for by_step in rows.values() for step in sorted(by_step)]


def grouped_bounds(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics with the bounds of intervals in a section of their own."""
    return {f"{BOUNDS}{name}" if _is_bound(name, metrics) else name: value for name, value in metrics.items()}


def _is_bound(name: str, metrics: Mapping[str, float]) -> bool:
    return any(name.endswith(end) and name.removesuffix(end) in metrics for end in ("_low", "_high"))


def media_of(paths: Mapping[str, Path]) -> dict[str, Any]:
    """Return the figures and pages as W&B media; without `inject=False`, W&B links a style sheet into the pages."""
    import wandb

    images = {name: wandb.Image(str(path)) for name, path in paths.items() if path.suffix == ".png"}
    return images | {
        name: wandb.Html(str(path), inject=False) for name, path in paths.items() if path.suffix == ".html"
    }


def tables_of(tables: Mapping[str, pd.DataFrame], charts: Sequence[Chart]) -> dict[str, Any]:
    """Return all tables, the maps as tables, and the rankings as charts of bars."""
    import wandb

    logged: dict[str, Any] = {f"{TABLES}{name}": wandb_table(table) for name, table in tables.items()}
    for chart in charts:
        if chart.table not in tables:
            continue
        if isinstance(chart, Map) and (cells := cells_of(chart, tables[chart.table])) is not None:
            logged[f"{TABLES}{chart.name}"] = wandb_table(cells)
        if isinstance(chart, Ranking) and len(bars := bars_of(chart, tables[chart.table])) > 1:
            table = wandb.Table(columns=["name", chart.value], data=[list(bar) for bar in bars])
            logged[f"rankings/{chart.name}"] = wandb.plot.bar(
                table, "name", chart.value, title=chart.name.replace("_", " ")
            )
    return logged


def wandb_table(table: pd.DataFrame) -> wandb.Table:
    """Return the table in plain Python values with one type per column: missing values are None, mixed ones text."""
    import wandb

    columns = [_plain(table[name].head(MAX_ROWS)) for name in table]
    return wandb.Table(columns=[str(name) for name in table], data=[list(row) for row in zip(*columns, strict=True)])


def _plain(column: pd.Series[Any]) -> list[Any]:
    values = column.astype(object).where(column.notna(), None).tolist()
    if any(isinstance(value, str) for value in values):
        return [None if value is None else str(value) for value in values]
    return values
