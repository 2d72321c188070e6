"""What the dashboard knows of each run: a small entry for the table, and its keys and metrics in full."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import Any, Final, Self

from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.runs.finding import is_sweep
from ioi_lab.runs.reading import CONFIG, STATUS, RunRecord, read_run
from ioi_lab.runs.table import row_of

READ: Final = (STATUS, CONFIG, "provenance.json", "metrics.json", ".hydra/overrides.yaml")
"""The files that are read of each run."""

_MAX_TEXT: Final = 2000
"""The greatest number of characters of a text that is kept."""


@dataclass(frozen=True)
class Entry:
    """A run in the table of runs; texts are empty and numbers None if they are unknown."""

    folder: str
    """The path of its folder in the runs folder."""

    status: str
    error: str = ""
    sweep: str = ""
    """The folder of the sweep that it is a job of."""

    name: str = ""
    model: str = ""
    task: str = ""
    intervention: str = ""
    headline: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    seconds: float | None = None
    updated: float | None = None
    """When its status was written, in seconds since 1970."""

    @classmethod
    def of(cls, folder: str, row: Mapping[str, Any], sweep: str = "") -> Self:
        """Return the entry of a row of `load_runs`."""
        headline = _text(row, "headline")
        return cls(
            folder=folder,
            status=_text(row, "status"),
            error=_text(row, "error"),
            sweep=sweep,
            name=_text(row, "name"),
            model=model_of(row),
            task=_text(row, "task.name"),
            intervention=_text(row, "intervention.name") or _text(row, "alignment.method"),
            headline=headline,
            value=_number(row, headline),
            low=_number(row, f"{headline}_low"),
            high=_number(row, f"{headline}_high"),
            seconds=_number(row, "seconds"),
            updated=_time(_text(row, "updated")),
        )

    @property
    def title(self) -> str:
        """The title of the run: what was done to which model, on which task."""
        return " · ".join(filter(None, (self.intervention, self.model, self.task))) or self.folder

    def as_row(self) -> dict[str, Any]:
        """Return the entry as a row of the table in the browser."""
        return dict(vars(self))  # `asdict` copies, which takes a second for 20,000 runs


def model_of(row: Mapping[str, Any]) -> str:
    """Return the name of the model of a run, or of both of them."""
    names = [_text(row, key) for key in ("model.name", "source.name", "target.name")]
    return " · ".join(name for name in names if name) or _text(row, "model.path")


def read_entry(runs: RunsFolder, folder: str) -> tuple[Entry, dict[str, Any]]:
    """Return the entry of a run, and its row of `load_runs`: config keys, typed overrides and metrics by their names.

    It raises no error: a run that cannot be read is `damaged`, and so is one whose files are links out of the folder.
    """
    path = runs.path / folder
    outside = [name for name in READ if os.path.lexists(path / name) and runs.file(f"{folder}/{name}") is None]
    outside = [name for name in outside if os.path.islink(path / name)]
    if outside:
        record = RunRecord(path, "damaged", f"{outside[0]} is a link that leads out of the runs folder, or to nothing")
        return Entry(folder, record.state, record.reason or ""), {}
    row = {key: value for key, value in row_of(read_run(path), runs.path).items() if key not in ("path", "folder")}
    entry = Entry.of(folder, row, _sweep_of(runs, path))
    is_study = not entry.intervention and "study.steps" in row
    return (replace(entry, intervention="study") if is_study else entry), row


def _sweep_of(runs: RunsFolder, path: Path) -> str:
    return (runs.name_of(path.parent) or "") if path != runs.path and is_sweep(path.parent) else ""


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, Real) and value == value else None


def _time(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
