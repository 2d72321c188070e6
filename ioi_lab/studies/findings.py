"""What the finished steps of a study have found, read back from their run folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ioi_lab.models.heads import head_name
from ioi_lab.runs.reading import read_metrics
from ioi_lab.stats.discoveries import FALSE_DISCOVERY_RATE
from ioi_lab.storage.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

HEADS = "heads"
"""The step that patches all heads, from which later steps take theirs."""


@dataclass(frozen=True)
class FoundHead:
    """A head whose effect survives the correction for the number of heads."""

    name: str
    layer: int


@dataclass
class Findings:
    """The folders of the steps that are done, and what later steps ask of them."""

    labels: Sequence[str]
    """The position labels that all prompts have."""

    is_ioi: bool
    max_heads: int
    max_layers: int
    queries_per_key: int = 1
    """The number of query heads that read a key/value head."""

    folders: dict[str, Path] = field(default_factory=dict)
    """The run folder of each step that is done."""

    def metrics(self, step: str) -> dict[str, float]:
        """Return the `metrics.json` of a step that is done."""
        return read_metrics(self.folders[step])

    def table(self, step: str, name: str = "results.csv") -> pd.DataFrame:
        """Return a table of a step that is done."""
        return read_table(self.folders[step] / name)

    @cached_property
    def surviving(self) -> list[FoundHead]:
        """The heads of the step `heads` whose effect is distinguishable from 0, the largest first."""
        table = self.table(HEADS)
        found = table[(table["p_adjusted"] < FALSE_DISCOVERY_RATE) & table["head"].notna()]
        found = found.sort_values("recovery", key=abs, ascending=False, kind="stable")
        rows = found.drop_duplicates(["layer", "head"])[["layer", "head"]].itertuples(index=False)
        return [FoundHead(head_name((int(layer), int(head))), int(layer)) for layer, head in rows]

    @property
    def n_heads_tested(self) -> int:
        """The number of effects of heads that the step `heads` tested."""
        return int(self.table(HEADS)["p_adjusted"].notna().sum())
