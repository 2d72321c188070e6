"""The heads of a finished patching run, by their effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ioi_lab.errors import LabError
from ioi_lab.interventions.recovery import column_of
from ioi_lab.models.shape import KEY_VALUE_COMPONENTS
from ioi_lab.runs.nulls import null_value
from ioi_lab.runs.past_run import PastRun
from ioi_lab.stats.discoveries import FALSE_DISCOVERY_RATE


@dataclass(frozen=True)
class RankedHeads:
    """The heads of a finished run, the one with the largest effect first."""

    title: str
    effects: dict[tuple[int, int], float]
    """The change of recovery by layer and head: the largest, if the run has several positions."""

    found: frozenset[tuple[int, int]] | None = None
    """The heads whose effect that run distinguishes from 0, corrected for the number of its effects; None if it has no
    tests."""

    @property
    def heads(self) -> list[tuple[int, int]]:
        """Layer and head, the one with the largest effect first."""
        return list(self.effects)

    @classmethod
    def of(cls, run: PastRun, key: str) -> Self:
        """Return the heads of a run of `patch` or the like.

        Raises a `LabError` that names `key` if the run did not measure single heads.
        """
        table, config = run.table(key), run.intervention
        component, column = config.get("component"), column_of(config.get("metric", "logit_diff"))
        is_by_head = {"layer", "head", column} <= set(table.columns) and table["head"].notna().all()
        if not is_by_head or component in KEY_VALUE_COMPONENTS:
            raise LabError(
                f"{key}: the run in {str(run.folder)!r} ({config.get('name')} {component or ''}) has no effect per "
                "head; expected one of intervention=patch over heads, such as component=z"
            )
        without_effect = null_value(column, config) or 0.0
        effects: dict[tuple[int, int], float] = {}
        p_values: dict[tuple[int, int], float] = {}
        p_adjusted = table["p_adjusted"] if "p_adjusted" in table else np.full(len(table), np.nan)
        columns = (table["layer"], table["head"], table[column], p_adjusted)
        for layer, head, recovery, p_value in zip(*columns, strict=True):
            effect, cell = recovery - without_effect, (int(layer), int(head))
            if abs(effect) >= abs(effects.get(cell, 0.0)):
                effects[cell], p_values[cell] = float(effect), float(p_value)
        ranked = sorted(effects.items(), key=lambda item: -abs(item[1]))
        found = frozenset(cell for cell, p_value in p_values.items() if p_value < FALSE_DISCOVERY_RATE)
        is_tested = bool(np.isfinite(list(p_values.values())).any())
        return cls(f"{config.get('name')} {component}", dict(ranked), found if is_tested else None)
