"""Many runs as one table."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.errors import LabError
from ioi_lab.runs.finding import run_folders
from ioi_lab.runs.parsing import DamagedError
from ioi_lab.runs.reading import STATUS, RunRecord, read_config, read_run, read_typed
from ioi_lab.terminal import printable

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

ABOUT: Final = ("folder", "status", "error", "headline", "started", "updated", "seconds", "taken_from")
"""The columns of `load_runs` that are neither config keys nor metrics."""

TOP_KEYS: Final = ("name", "seed", "resume", "resume_from", "figures", "optimize", "dry_run")
"""Config keys that are in no group."""

DAMAGED: Final = "damaged"


def load_runs(folder: str | Path) -> pd.DataFrame:
    """Return a table with one row per run in a folder or below it, sorted by folder (numbered folders by number).

    The columns are those of `ABOUT`, each config key by its full name (`intervention.layer`), each typed override as
    `typed.<key>`, and each metric by its name. Values that a run does not have are missing. A run whose files cannot be
    read has the status `damaged` and the reason as its `error`, and does not count as done.

    Raises a `LabError` for a folder without runs.
    """
    return table_of(read_runs(folder), Path(folder))


def read_runs(folder: str | Path) -> list[RunRecord]:
    """Return the records of the runs in a folder or below it, sorted; raises a `LabError` if there are none."""
    runs = [read_run(run) for run in sorted(run_folders(Path(folder)), key=_sort_key)]
    if not runs:
        raise LabError(f"{str(folder)!r} contains no runs: there is no {STATUS} in it or below it")
    return runs


def table_of(runs: Sequence[RunRecord], root: Path) -> pd.DataFrame:
    """Return the table of `load_runs` for these runs in the folder `root`."""
    import pandas as pd

    frame = pd.DataFrame([row_of(run, root) for run in runs])
    first = [name for name in ABOUT if name in frame]
    return frame[[*first, *(name for name in frame if name not in first)]]


def is_bound(name: str, columns: Sequence[str]) -> bool:
    """Return whether a column has the lower or upper bounds of another column."""
    return any(name.endswith(suffix) and name.removesuffix(suffix) in columns for suffix in ("_low", "_high"))


def _sort_key(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts numbered folders by their numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in path.parts]


def row_of(record: RunRecord, root: Path) -> dict[str, Any]:
    """Return the row of a run in the table of `load_runs`; values that it does not have are left out."""
    folder, state, reason = record.folder, record.state, record.reason
    row: dict[str, Any] = {}
    for part in (_typed, _config):  # the other is read even if one cannot be
        try:
            row |= part(folder)
        except DamagedError as error:
            if record.is_done:  # unfinished runs need not be complete
                state, reason = DAMAGED, reason or str(error)
    if state == DAMAGED:
        log.warning(
            "the run in %s is damaged and not counted: %s", _in_one_line(str(folder)), _in_one_line(reason or "")
        )
    else:
        row |= record.metrics
    about = {"folder": _in_one_line(str(folder.relative_to(root))), "path": folder, "status": state} | _about(record)
    return row | about | ({} if reason is None else {"error": _in_one_line(reason)})


def _in_one_line(text: str) -> str:
    return printable(text).replace("\n", r"\n")


def _about(record: RunRecord) -> dict[str, Any]:
    """Return what a run says about itself; values of another type than the lab writes are left out."""
    texts = {name: record.text(name) for name in ("headline", "started", "updated")}
    seconds, origin = record.provenance.get("seconds"), record.provenance.get("taken_from")
    about = texts | {
        "seconds": seconds if isinstance(seconds, int | float) else None,
        "taken_from": origin if isinstance(origin, str) else None,
    }
    return {name: value for name, value in about.items() if value is not None}


def _config(folder: Path) -> dict[str, Any]:
    return dict(_flat(read_config(folder)))


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full names of keys with their values; lists become text, so that they can be compared and counted."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            is_plain = isinstance(value, str | int | float | None)
            yield f"{prefix}{key}", value if is_plain else json.dumps(value, default=str)


def _typed(folder: Path) -> dict[str, Any]:
    """Return the overrides that were typed for a run, by key; numbers as numbers."""
    typed = {}
    for override in read_typed(folder):
        key, _, value = override.partition("=")
        typed[f"typed.{key.lstrip('+~')}"] = _number(value)
    return typed


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
