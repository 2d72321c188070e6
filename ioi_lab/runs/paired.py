"""Two runs on the same prompts: the difference of what each edit does, prompt by prompt."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.errors import LabError, folded
from ioi_lab.reports.report import PER_PROMPT, SELECTORS
from ioi_lab.reports.wording import interval_column, test_over
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.discoveries import ROUNDING, Discoveries, discover
from ioi_lab.storage.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

PROMPT: Final = ["clean", "corrupt", "answer", "distractor"]
"""The columns of `prompts.csv` by which two runs know the same prompt."""

_OF_TRANSFER: Final = ("direction", "vector", "source_layer", "in_its_place", "source_head")
"""The columns of `transfer` that say which vector, or which head, a row belongs to."""

_SHOWN: Final = 8


@dataclass(frozen=True)
class PairedDifference:
    """The logit differences of the second run less those of the first, on the prompts that both have."""

    n_prompts: int
    labels: list[str]
    """The edits that both runs have, by their selectors."""

    difference: Estimate
    """The mean over prompts, a row per edit."""

    discoveries: Discoveries
    """Which of the differences are more than chance."""


def paired_difference(first: Path, second: Path) -> PairedDifference | None:
    """Return the paired differences of two finished runs.

    It is None if a run has no values by prompt, or if the runs share no prompts or no edits. Raises a `LabError` for
    files that cannot be read.
    """
    tables = [_values(folder) for folder in (first, second)]
    if any(table is None for table in tables):
        return None
    one, other = (table for table in tables if table is not None)
    joined = other.sub(one).dropna()  # by edit and prompt
    if joined.empty:
        return None
    grid = joined.unstack("prompt").dropna(axis="columns")
    if grid.empty:
        return None
    changes = grid.to_numpy()
    bootstrap = Bootstrap(changes.shape[1], seed=0)
    return PairedDifference(
        n_prompts=changes.shape[1],
        labels=[str(label) for label in grid.index],
        difference=bootstrap.mean(changes),
        discoveries=discover(changes, np.ones_like(changes[:1]), bootstrap, ROUNDING),
    )


def paired_lines(first: Path, second: Path) -> list[str]:
    """Return the largest paired differences that are more than chance, in lines for the terminal."""
    paired = paired_difference(first, second)
    if paired is None:
        return []
    found = np.flatnonzero(paired.discoveries.found)
    largest = found[np.argsort(-np.abs(paired.difference.value[found]), kind="stable")]
    count = f"{len(found)} of {len(paired.labels)} are distinguishable from 0 {test_over('prompts')}"
    lines = [
        f"logit differences of the edits that both runs have, second − first, paired over {paired.n_prompts} prompts "
        f"with 95 % intervals: {count}"
    ]
    width = max((len(paired.labels[row]) for row in largest[:_SHOWN]), default=0)
    return lines + [
        f"  {paired.labels[row]:<{width}} {interval_column(paired.difference, row)}" for row in largest[:_SHOWN]
    ]


def _values(folder: Path) -> pd.Series[float] | None:
    """Return the logit differences of a run, by edit and prompt.

    Prompts that repeat another one are left out, and so are the random directions that steering is compared with.
    """
    import pandas as pd

    if not (folder / PER_PROMPT).is_file():
        return None
    try:
        values = pd.read_parquet(folder / PER_PROMPT)
        results = read_table(folder / "results.csv", as_text=True)
        prompts = read_table(folder / "prompts.csv", as_text=True)
        texts = prompts[PROMPT].agg("\n".join, axis="columns")
        labels = [label_of(row) for row in results.to_dict("records")]
        values = values[~texts.duplicated().to_numpy()[values["prompt"]]]
        if "direction" in results:
            values = values[~results["direction"].str.startswith("random ").to_numpy()[values["row"]]]
        index = pd.MultiIndex.from_arrays(
            [np.array(labels)[values["row"]], texts.to_numpy()[values["prompt"]]], names=["edit", "prompt"]
        )
        series = pd.Series(values["logit_diff"].to_numpy(), index)
        return series[~index.duplicated()]  # a site may be selected twice
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise LabError(f"{str(folder)!r}: cannot read the values by prompt: {folded(error)}") from error


def label_of(row: Mapping[Hashable, str]) -> str:
    """Return the selectors of a row of `results.csv` as a label, such as `z layer 9 head 6 position END`."""
    names = [name for name in (*SELECTORS, "sites", *_OF_TRANSFER) if row.get(name) and row[name] != "steering"]
    return " ".join(row[name] if name in ("component", "sites") else f"{name} {row[name]}" for name in names)
