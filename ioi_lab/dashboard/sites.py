"""What a head or a layer did in all runs: its rows in the results of each."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any, Final

from ioi_lab.dashboard.entries import Entry
from ioi_lab.dashboard.index import Index
from ioi_lab.dashboard.places import name_in
from ioi_lab.dashboard.results import FIRST, NOT_METRICS, NUMBERS, RESULTS, row_name
from ioi_lab.reports.report import SELECTORS
from ioi_lab.runs.nulls import null_value
from ioi_lab.runs.table import is_bound
from ioi_lab.stats.discoveries import FALSE_DISCOVERY_RATE
from ioi_lab.storage.tables import unescaped

MAX_RUNS: Final = 2000
"""The greatest number of runs whose results are read: the newest."""

MAX_ROWS: Final = 5000
_MAX_BYTES: Final = 5_000_000
_SITE: Final = re.compile(r"\s*(?:a|L)?(\d{1,4})(?:\s*\.\s*[hH]?(\d{1,4}))?\s*", re.ASCII)

Site = tuple[int, int | None]
"""A layer, and a head or None."""


@dataclass(frozen=True)
class SiteRow:
    """A row of the results of a run that is of the site."""

    entry: Entry
    row: int
    """The row of `results.csv`."""

    name: str
    """Its selectors."""

    metric: str
    value: float
    low: float | None
    high: float | None
    verdict: str
    """Whether the effect is distinguishable from none; empty if that is unknown."""

    rank: int
    """The rank of the effect among all rows of the run, by its size; 1 is the largest."""

    n_rows: int
    remark: str = ""


def parse_site(text: str) -> Site | None:
    """Return the site of a text: `9.9` and `a9.h9` are a head, `9` is a layer; None for what is neither."""
    match = _SITE.fullmatch(text)
    return None if match is None else (int(match[1]), None if match[2] is None else int(match[2]))


def rows_at(index: Index, site: Site, model: str = "", metric: str = "") -> tuple[list[SiteRow], int]:
    """Return the rows of a site in the newest runs, and the number of runs that were not read.

    Args:
        index: The runs.
        site: The site.
        model: The model of the runs; empty for all.
        metric: The metric; empty for the first one of each run.

    """
    entries = [entry for entry in index.entries() if entry.status == "done" and model in ("", entry.model)]
    read = entries[:MAX_RUNS]
    found: list[SiteRow] = []
    details = index.details([entry.folder for entry in read])
    for entry in read:
        found += _rows_of(index, entry, details.get(entry.folder, {}), site, metric)
        if len(found) >= MAX_ROWS:
            break
    return found[:MAX_ROWS], len(entries) - len(read)


def _rows_of(index: Index, entry: Entry, row: Mapping[str, Any], site: Site, metric: str) -> Iterator[SiteRow]:
    path = index.runs.file(name_in(entry.folder, RESULTS))
    if path is None:
        return
    try:
        about = path.stat()
        table = read_rows(path, about.st_mtime_ns) if about.st_size <= _MAX_BYTES else ()
    except (OSError, ValueError, csv.Error):
        return
    if not table:
        return
    chosen = metric or first_metric(list(table[0]), table)
    keys = {key.removeprefix("intervention."): row[key] for key in row if key.startswith("intervention.")}
    null = null_value(chosen, keys)
    sizes = sorted(
        (abs(value - (null or 0.0)) for each in table if (value := _number(each, chosen)) is not None), reverse=True
    )
    for number, each in enumerate(table):
        value = _number(each, chosen)
        if value is None or not _is_at(each, site):
            continue
        low, high = _number(each, f"{chosen}_low"), _number(each, f"{chosen}_high")
        yield SiteRow(
            entry=entry,
            row=number,
            name=row_name({key: unescaped(text) for key, text in each.items() if text}),
            metric=chosen,
            value=value,
            low=low,
            high=high,
            verdict=_verdict(each, chosen, null, low, high),
            rank=1 + sum(size > abs(value - (null or 0.0)) for size in sizes),
            n_rows=len(sizes),
            remark=each.get("roles", ""),
        )


@lru_cache(maxsize=MAX_RUNS)
def read_rows(path: Path, _modified: int) -> tuple[dict[str, str], ...]:
    """Return the rows of a table as texts; `_modified`: when it was, so that a changed one is read again."""
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            {key: value for key, value in row.items() if isinstance(key, str) and isinstance(value, str)}
            for row in csv.DictReader(file)
        )


def first_metric(names: Sequence[str], table: Sequence[Mapping[str, str]]) -> str:
    """Return the metric that is shown of a run: an effect if it has one, else its first column of numbers."""
    for name in FIRST:
        if name in names:
            return name
    for name in names:
        is_selector = name in (*SELECTORS, *NUMBERS, *NOT_METRICS) or is_bound(name, names)
        if not is_selector and any(_number(row, name) is not None for row in table):
            return name
    return ""


def _is_at(row: Mapping[str, str], site: Site) -> bool:
    layer, head = _number(row, "layer"), _number(row, "head")
    return layer == site[0] and head == site[1]


def _number(row: Mapping[str, str], name: str) -> float | None:
    with suppress(ValueError):
        value = float(row.get(name, ""))
        return value if isfinite(value) else None
    return None


def _verdict(row: Mapping[str, str], metric: str, null: float | None, low: float | None, high: float | None) -> str:
    """Return whether an effect is distinguishable from none: by its corrected test, or else by its own interval."""
    p_adjusted = _number(row, "p_adjusted") if metric == "recovery" else None
    if p_adjusted is not None:
        return "yes" if p_adjusted < FALSE_DISCOVERY_RATE else "no"
    if null is None or low is None or high is None:
        return ""
    return "yes (own interval)" if low > null or high < null else "no (own interval)"
