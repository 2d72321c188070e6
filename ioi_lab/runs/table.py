"""Many runs as one table."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.errors import LabError, folded
from ioi_lab.runs.folder import STATUS, is_done, run_folders
from ioi_lab.storage.files import read_yaml

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

ABOUT: Final = ("folder", "status", "error", "headline", "started", "updated", "seconds", "taken_from")
"""The columns of `load_runs` that are neither config keys nor metrics."""

TOP_KEYS: Final = ("name", "seed", "resume", "resume_from", "figures", "optimize")
"""Config keys that are in no group."""

DAMAGED: Final = "damaged"


def load_runs(folder: str | Path) -> pd.DataFrame:
    """Return a table with one row per run in a folder or below it, sorted by folder (numbered folders by number).

    The columns are those of `ABOUT`, each config key by its full name (`intervention.layer`), each typed override as
    `typed.<key>`, and each metric by its name. Values that a run does not have are missing. A run whose files cannot be
    read has the status `damaged` and the reason as its `error`, and does not count as done.

    Raises a `LabError` for a folder without runs.
    """
    import pandas as pd

    root = Path(folder)
    rows = [_row(run, root) for run in sorted(run_folders(root), key=_sort_key)]
    if not rows:
        raise LabError(f"{str(folder)!r} contains no runs: there is no {STATUS} in it or below it")
    frame = pd.DataFrame(rows)
    first = [name for name in ABOUT if name in frame]
    return frame[[*first, *(name for name in frame if name not in first)]]


def is_bound(name: str, columns: Sequence[str]) -> bool:
    """Return whether a column has the lower or upper bounds of another column."""
    return any(name.endswith(suffix) and name.removesuffix(suffix) in columns for suffix in ("_low", "_high"))


def _sort_key(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts numbered folders by their numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.parts]


def _row(folder: Path, root: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"folder": str(folder.relative_to(root)), "path": str(folder)}
    reason = None
    for part in (_status, _typed, _config, _results):  # the others are read even if one cannot be
        try:
            row |= part(folder)
        except (OSError, ValueError, KeyError, TypeError, LabError) as error:
            reason = reason or f"{type(error).__name__}: {folded(error)}"
    if reason is not None and row.get("status", "done") == "done":  # unfinished runs need not be complete
        log.warning("the run in %s is damaged and not counted: %s", folder, reason)
        row |= {"status": DAMAGED, "error": reason}
    return row


def _status(folder: Path) -> dict[str, Any]:
    status = _json(folder / STATUS)
    return {name: status[name] for name in ("status", "error", "headline", "started", "updated") if name in status}


def _config(folder: Path) -> dict[str, Any]:
    return dict(_flat(_yaml(folder / "config.yaml")))


def _results(folder: Path) -> dict[str, Any]:
    if not is_done(folder):
        return {}
    provenance = _json(folder / "provenance.json")
    about = {"seconds": provenance["seconds"]} | (
        {"taken_from": provenance["taken_from"]} if "taken_from" in provenance else {}
    )
    return about | _json(folder / "metrics.json")


def _json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return content


def _yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} has no keys")
    return {str(key): value for key, value in content.items() if key != "defaults"}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full names of keys with their values; lists become text, so that they can be compared and counted."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else value


def _typed(folder: Path) -> dict[str, Any]:
    """Return the overrides that were typed for a run, by key; numbers as numbers."""
    path = folder / ".hydra" / "overrides.yaml"
    if not path.is_file():
        return {}
    typed = {}
    overrides = read_yaml(path)
    if not isinstance(overrides, list):
        raise ValueError(f"{path.name} is not a list")
    for override in overrides:
        key, _, value = str(override).partition("=")
        typed[f"typed.{key.lstrip('+~')}"] = _number(value)
    return typed


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
