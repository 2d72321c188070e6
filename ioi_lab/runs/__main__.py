"""`ioi-lab runs`: list runs, compare two of them, summarize a sweep, write a report, or save a view on W&B."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.errors import LabError
from ioi_lab.programs import CommandParser, typed_command
from ioi_lab.runs.finding import find_run, folder_of_runs, is_sweep
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
    except BrokenPipeError:  # `| head`
        sys.stderr.close()
    except (LabError, OSError) as error:
        sys.exit(f"error: {printable(str(error))}")


def _options() -> argparse.Namespace:
    parser = CommandParser(prog=typed_command("runs"), description=__doc__)
    commands = parser.add_subparsers(required=True)
    ls = commands.add_parser("ls", help="list the runs in a folder (`latest`: the latest run or sweep)")
    ls.add_argument("folder", nargs="?", default="runs")
    ls.set_defaults(command=_ls)
    compare = commands.add_parser(
        "compare",
        help="print the configs and metrics of two runs next to each other (FOLDER: a run, runs/NAME, or latest)",
    )
    compare.add_argument("runs", nargs=2, metavar="FOLDER")
    compare.set_defaults(command=_compare)
    summarize = commands.add_parser("summarize", help="write the table (sweep.csv) and the figures of a sweep")
    summarize.add_argument("folder")
    summarize.add_argument(
        "--metric",
        help="the metric of the figures: of the runs, or a column of results.csv (default: the headline of most)",
    )
    for option, what in (
        ("x", "along the x axis"),
        ("line", "with a line per value"),
        ("facet", "with a panel per value"),
    ):
        summarize.add_argument(
            f"--{option}", metavar="KEY", help=f"the swept key, or column of results.csv, {what} (default: chosen)"
        )
    summarize.add_argument(
        "--format",
        action="append",
        default=[],
        metavar="png|pdf|svg",
        help="a format of the figures besides png; can be repeated (default: the figures.formats of the runs)",
    )
    summarize.set_defaults(command=_summarize)
    report = commands.add_parser(
        "report", help="write the report.html of a run or a sweep that has none, and print its path"
    )
    report.add_argument("folder", help="a run, a sweep, runs/NAME, or latest")
    report.set_defaults(command=_report)
    workspace = commands.add_parser("workspace", help="save a view of a sweep on W&B")
    workspace.add_argument("folder")
    workspace.set_defaults(command=_workspace)
    return parser.parse_args()


def _ls(options: argparse.Namespace) -> list[str]:
    runs = load_runs(folder_of_runs(options.folder))
    rows = [("run", "model", "intervention", "headline", "status", "seconds", "age")]
    for _, run in runs.iterrows():
        what = _model(run), _text(run, "intervention.name"), _headline(run)
        rows.append((run["folder"], *what, run["status"], _seconds(run), _age(run)))
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _model(run: pd.Series[Any]) -> str:
    names = [_text(run, key) for key in ("model.name", "source.name", "target.name")]
    return " · ".join(name for name in names if name) or _text(run, "model.path")


def _headline(run: pd.Series[Any]) -> str:
    name = run.get("headline")
    value = run.get(name) if isinstance(name, str) else None
    return f"{name} {value:.3f}" if isinstance(value, Real) and value == value else ""  # NaN: not measured


def _seconds(run: pd.Series[Any]) -> str:
    seconds = run.get("seconds")
    return f"{seconds:.1f}" if isinstance(seconds, Real) and seconds == seconds else ""  # NaN: not done


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
    folders = [find_run(place) for place in options.runs]
    runs = [load_runs(folder).iloc[0] for folder in folders]
    keys = [str(key) for key in dict.fromkeys([*runs[0].index, *runs[1].index])]
    keys = [key for key in keys if key not in (*ABOUT, "path") and not key.startswith("typed.")]
    keys = [key for key in keys if not is_bound(key, keys)]
    rows = [("", *(folder.name for folder in folders), "difference")]
    for key in ("status", *keys):
        values = [run.get(key) for run in runs]
        if _is_config(key) and _are_equal(*values):
            continue
        rows.append((key, *map(_formatted, values), "") if _is_config(key) else _metric(key, runs))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    from ioi_lab.runs.paired import paired_lines  # a second of imports

    try:
        paired = paired_lines(*folders)
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
    from ioi_lab.runs.axes import Asked
    from ioi_lab.runs.figure_files import checked_formats
    from ioi_lab.runs.sweep_pages import write_sweep_page
    from ioi_lab.runs.sweeps import Sweep

    formats = checked_formats(options.format)
    asked = Asked(options.x, options.line, options.facet)
    sweep = Sweep.read(folder_of_runs(options.folder), options.metric, asked)
    figures = sweep.write(formats)
    paths = [*(path for files in figures.values() for path in files), write_sweep_page(sweep)]
    return [*sweep.lines()[:1], *(f"  {path}" for path in paths), *sweep.lines()[1:]]


def _report(options: argparse.Namespace) -> Sequence[str]:
    from ioi_lab.runs.pages import write_page
    from ioi_lab.runs.sweep_pages import write_sweep_page
    from ioi_lab.runs.sweeps import Sweep

    folder = folder_of_runs(options.folder)
    if is_sweep(folder):
        return [str(write_sweep_page(Sweep.read(folder)))]
    return [str(write_page(find_run(options.folder)))]


def _workspace(options: argparse.Namespace) -> Sequence[str]:
    from ioi_lab.runs.workspace import save_view_of

    return [save_view_of(folder_of_runs(options.folder))]


if __name__ == "__main__":
    main()
