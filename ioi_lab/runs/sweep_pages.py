"""The report of a sweep: what was swept, the runs with the highest and the lowest metric, failures, and the table."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.reports.html.page import Page, PageFigure, PageTable
from ioi_lab.reports.html.render import render
from ioi_lab.reports.wording import counted, enumerated, plain
from ioi_lab.runs.pages import captions_in, page_of, program_of
from ioi_lab.runs.parsing import DamagedError, read_yaml_file
from ioi_lab.runs.reading import PAGE, PLOTS, TYPED
from ioi_lab.runs.sweep_figures import in_words
from ioi_lab.runs.sweeps import STEPS, TABLE, Sweep
from ioi_lab.storage.files import write_text

if TYPE_CHECKING:
    import pandas as pd

_FIXED: Final = ("intervention.name", "model.name", "source.name", "target.name", "task.name")
"""The config keys that name what the runs have in common."""

_MAX_FAILURES: Final = 20
"""The greatest number of failed runs that are listed; the table has all."""


def write_sweep_page(sweep: Sweep) -> Path:
    """Write `report.html` into the folder of a sweep whose table and figures have been written; returns its path."""
    path = sweep.folder / PAGE
    write_text(path, render(sweep_page(sweep)))
    return path


def sweep_page(sweep: Sweep) -> Page:
    """Return the report of a sweep, with the figures in its folder."""
    done = sweep.runs[sweep.is_done]
    first = page_of(Path(done["path"].iloc[0])) if len(done) else Page(sweep.folder.name)
    return Page(
        title=f"sweep {sweep.folder.parent.name} {sweep.folder.name}",
        question=_question(sweep, done),
        answer=list(_answer(sweep, done)),
        details=sweep.lines()[: _MAX_FAILURES + 1],
        figures=list(_figures(sweep)),
        tables=list(_tables(sweep)),
        methods=first.methods,
        limits=list(_limits(sweep, done)),
        command=_command(sweep),
        provenance=_provenance(sweep),
    )


def _question(sweep: Sweep, done: pd.DataFrame) -> str:
    fixed = [str(done[name].iloc[0]) for name in _FIXED if name in done and done[name].nunique() == 1]
    metric = "its results" if sweep.shown is None else in_words(sweep.shown)
    of = f" of {' · '.join(fixed)}" if fixed else ""
    if not sweep.swept:
        return f"What do the runs{of} have in common?"
    return f"How does {metric}{of} depend on {enumerated([_label(key) for key in sweep.swept])}?"


def _answer(sweep: Sweep, done: pd.DataFrame) -> Iterator[str]:
    counts = sweep.runs["status"].value_counts().to_dict()
    yield f"{counted(len(sweep.runs), 'run')}: {', '.join(f'{count} {status}' for status, count in counts.items())}."
    if sweep.shown is None or sweep.shown not in done or not done[sweep.shown].notna().any():
        return
    values = done[sweep.shown]
    if len(done) == 1:
        yield f"{_begun(sweep.shown)} is {_value(sweep, done.iloc[int(values.argmax())])}."
        return
    high, low = done.iloc[int(values.argmax())], done.iloc[int(values.argmin())]
    yield (
        f"{_begun(sweep.shown)} is highest at {_value(sweep, high)} ({_case(sweep, high)}), and lowest at "
        f"{_value(sweep, low)} ({_case(sweep, low)}); the median is {values.median():.3g}."
    )


def _limits(sweep: Sweep, done: pd.DataFrame) -> Iterator[str]:
    missing = len(sweep.runs) - len(done)
    if missing:
        yield f"{counted(missing, 'run')} of {len(sweep.runs)} did not finish and are missing from figures and numbers."
    if len(done) > 1:
        yield (
            "The highest and the lowest run are chosen among all, and their intervals are not corrected for that: "
            "confirm them on other prompts."
        )
    if sweep.shown is not None and sweep.shown.startswith("best_"):
        yield "The metric is the best effect within each run, which need not be the same site in all runs."


def _table(sweep: Sweep) -> pd.DataFrame:
    """Return the table of the runs with the metric of the figures before the others."""
    table = sweep.table()
    if sweep.shown is None or sweep.shown not in table:
        return table
    shown = [name for bound in ("", "_low", "_high") if (name := f"{sweep.shown}{bound}") in table]
    place = list(table).index("status")
    return table[[*table.columns[:place], *shown, *(name for name in table.columns[place:] if name not in shown)]]


def _tables(sweep: Sweep) -> Iterator[PageTable]:
    if sweep.steps:
        what = "One row per step and study: the headline metric of the step, its 95 % interval, and its value unedited."
        yield PageTable("steps", sweep.table_of_steps(), what, STEPS)
    yield PageTable("runs", _table(sweep), "One row per run, in the order of the jobs.", TABLE)


def _figures(sweep: Sweep) -> Iterator[PageFigure]:
    """Yield the figures in the folder, those of other metrics and axes that were asked for among them."""
    captions = sweep.captions | captions_in(sweep.folder)
    for path in sorted((sweep.folder / PLOTS).glob("*.png")):
        yield PageFigure(path.stem, path, captions.get(path.stem, ""))


def _value(sweep: Sweep, run: pd.Series[Any]) -> str:
    value, low, high = (run.get(f"{sweep.shown}{bound}") for bound in ("", "_low", "_high"))
    known = low is not None and low == low
    return f"{value:.3g} [{low:.3g}, {high:.3g}]" if known else f"{value:.3g}"


def _case(sweep: Sweep, run: pd.Series[Any]) -> str:
    return ", ".join(f"{_label(key)} = {run[f'typed.{key}']}" for key in sweep.swept) or str(run["folder"])


def _label(key: str) -> str:
    return plain(key.split(".")[-1])


def _begun(metric: str) -> str:
    """Return the name of a metric as the beginning of a sentence."""
    words = in_words(metric)
    return words[0].upper() + words[1:]


def _command(sweep: Sweep) -> str:
    """Return the command that was typed; empty if it is not known."""
    try:
        typed = read_yaml_file(sweep.folder / TYPED)
    except DamagedError:
        return ""
    words = typed.get("task") if isinstance(typed, dict) else None
    program = program_of(sweep.records[0].folder)
    return shlex.join([*program, "-m", *map(str, words)]) if isinstance(words, list) else ""


def _provenance(sweep: Sweep) -> dict[str, Any]:
    """Return what all finished runs have in common: of a sweep over models, no model."""
    kept = ("model", "source", "target", "git_commit", "git_dirty", "packages", "python", "platform")
    done = [record.provenance for record in sweep.records if record.is_done]
    first = done[0] if done else {}
    seconds = {"seconds of all runs": round(float(sweep.runs["seconds"].sum()), 1)} if "seconds" in sweep.runs else {}
    return {
        "folder": os.path.relpath(sweep.folder),
        "runs": len(sweep.runs),
        **seconds,
        **{key: first[key] for key in kept if key in first and all(first[key] == each.get(key) for each in done)},
    }
