"""`python -m ioi_lab.runs`: list runs, compare two of them, or summarize a sweep."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.errors import LabError
from ioi_lab.runs.table import ABOUT, TOP_KEYS, is_bound, load_runs
from ioi_lab.terminal import print_early_logs_as_text, printable, say

if TYPE_CHECKING:
    import pandas as pd


_CLOCKS_DIFFER: Final = 60
"""Seconds by which the clocks of two machines may differ."""


def main() -> None:
    """Parse the command line and run its command; a mistake ends with one line and exit code 1."""
    print_early_logs_as_text()
    options = _options()
    try:
        for line in options.command(options):
            say(line)
    except (LabError, OSError) as error:
        sys.exit(f"error: {printable(str(error))}")
    except BrokenPipeError:  # `| head`
        sys.stderr.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ioi_lab.runs", description=__doc__)
    commands = parser.add_subparsers(required=True)
    ls = commands.add_parser("ls", help="list runs")
    ls.add_argument("folder", nargs="?", default="runs")
    ls.set_defaults(command=_ls)
    compare = commands.add_parser("compare", help="print the configs and metrics of two runs next to each other")
    compare.add_argument("runs", nargs=2, metavar="FOLDER")
    compare.set_defaults(command=_compare)
    summarize = commands.add_parser("summarize", help="write the table (sweep.csv) and the figures of a sweep")
    summarize.add_argument("folder")
    summarize.add_argument("--metric", help="the metric of the figures (default: the headline of most runs)")
    summarize.set_defaults(command=_summarize)
    return parser.parse_args()


def _ls(options: argparse.Namespace) -> list[str]:
    runs = load_runs(options.folder)
    rows = [("run", "model", "intervention", "headline", "status", "age")]
    for _, run in runs.iterrows():
        rows.append(
            (run["folder"], _model(run), _text(run, "intervention.name"), _headline(run), run["status"], _age(run))
        )
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _model(run: pd.Series[Any]) -> str:
    names = [_text(run, key) for key in ("model.name", "source.name", "target.name")]
    return " · ".join(name for name in names if name) or _text(run, "model.path")


def _headline(run: pd.Series[Any]) -> str:
    name = run.get("headline")
    value = run.get(name) if isinstance(name, str) else None
    return f"{name} {value:.3f}" if isinstance(value, Real) and value == value else ""  # NaN: not measured


def _age(run: pd.Series[Any]) -> str:
    try:
        seconds = time.time() - datetime.fromisoformat(str(run.get("updated"))).timestamp()
    except (ValueError, OverflowError):
        return ""
    if seconds < -_CLOCKS_DIFFER:
        return "in the future"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _text(run: pd.Series[Any], key: str) -> str:
    value = run.get(key)
    return value if isinstance(value, str) else ""


def _compare(options: argparse.Namespace) -> list[str]:
    runs = [load_runs(folder).iloc[0] for folder in options.runs]
    for folder, run in zip(options.runs, runs, strict=True):
        if run["folder"] != ".":
            raise LabError(f"{folder!r} is not a run folder but contains some; expected the folder of one run")
    keys = [str(key) for key in dict.fromkeys([*runs[0].index, *runs[1].index])]
    keys = [key for key in keys if key not in (*ABOUT, "path") and not key.startswith("typed.")]
    keys = [key for key in keys if not is_bound(key, keys)]
    rows = [("", *(Path(folder).name for folder in options.runs), "difference")]
    for key in ("status", *keys):
        values = [run.get(key) for run in runs]
        if _is_config(key) and _are_equal(*values):
            continue
        rows.append((key, *map(_formatted, values), "") if _is_config(key) else _metric(key, runs))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    from ioi_lab.runs.paired import paired_lines  # a second of imports

    try:
        paired = paired_lines(*(Path(folder) for folder in options.runs))
    except LabError as error:  # the configs and metrics are compared all the same
        paired = [str(error)]
    return [*lines, "config keys with equal values are left out; brackets are 95 % intervals", *paired]


def _metric(name: str, runs: Sequence[pd.Series[Any]]) -> tuple[str, ...]:
    one, other = runs
    return name, _with_bounds(one, name), _with_bounds(other, name), _difference(one.get(name), other.get(name))


def _with_bounds(run: pd.Series[Any], metric: str) -> str:
    bounds = [run.get(f"{metric}_{bound}") for bound in ("low", "high")]
    known = not any(_missing(bound) for bound in bounds)
    return _formatted(run.get(metric)) + (f" [{', '.join(_formatted(bound) for bound in bounds)}]" if known else "")


def _is_config(key: str) -> bool:
    return "." in key or key in (*TOP_KEYS, "status")


def _are_equal(one: object, other: object) -> bool:
    return one == other or (one != one and other != other) or (_missing(one) and _missing(other))


def _missing(value: object) -> bool:
    return value is None or value != value


def _formatted(value: Any) -> str:
    if _missing(value):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def _difference(one: Any, other: Any) -> str:
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    return f"{other - one:+.4g}" if numbers and not _missing(one) and not _missing(other) else ""


def _summarize(options: argparse.Namespace) -> Sequence[str]:
    from ioi_lab.runs.sweeps import Sweep

    sweep = Sweep.read(options.folder, options.metric)
    return [*sweep.lines()[:1], *(f"  {path}" for path in sweep.write().values()), *sweep.lines()[1:]]


if __name__ == "__main__":
    main()
