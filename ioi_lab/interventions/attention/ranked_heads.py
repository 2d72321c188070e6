"""The heads of a finished patching run, by their effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ioi_lab.errors import LabError
from ioi_lab.models.shape import KEY_VALUE_COMPONENTS
from ioi_lab.runs.nulls import null_value
from ioi_lab.runs.past_run import PastRun


@dataclass(frozen=True)
class RankedHeads:
    """The heads of a finished run, the one with the largest effect first."""

    title: str
    effects: dict[tuple[int, int], float]
    """The change of recovery by layer and head: the largest, if the run has several positions."""

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
        component = config.get("component")
        is_by_head = {"layer", "head", "recovery"} <= set(table.columns) and table["head"].notna().all()
        if not is_by_head or component in KEY_VALUE_COMPONENTS:
            raise LabError(
                f"{key}: the run in {str(run.folder)!r} ({config.get('name')} {component or ''}) has no effect per "
                "head; expected one of intervention=patch over heads, such as component=z"
            )
        without_effect = null_value("recovery", config) or 0.0
        effects: dict[tuple[int, int], float] = {}
        for layer, head, recovery in zip(table["layer"], table["head"], table["recovery"], strict=True):
            effect, cell = recovery - without_effect, (int(layer), int(head))
            if abs(effect) >= abs(effects.get(cell, 0.0)):
                effects[cell] = float(effect)
        ranked = sorted(effects.items(), key=lambda item: -abs(item[1]))
        return cls(f"{config.get('name')} {component}", dict(ranked))
