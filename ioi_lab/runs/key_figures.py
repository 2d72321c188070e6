"""The figure of a sweep with too many combinations for panels: the metric by each of its keys alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from ioi_lab.reports import plots
from ioi_lab.runs.measurements import ROW
from ioi_lab.runs.sweep_figures import SweepFigure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class KeyFigure(SweepFigure):
    """Measurements by one key after another, whatever the other keys are."""

    @property
    @override
    def name(self) -> str:
        return f"{self.measured.metric}_by_each_key"

    @override
    def draw(self) -> Figure:
        table = self.measured.table[np.isfinite(self.measured.table["value"])]
        panels = []
        for key in (*(key for key in self.measured.keys if key != ROW), *self.measured.replicates):
            present = set(table[key].tolist())
            names = [value for value in self.measured.values(key) if value in present]
            ticks = np.array([names.index(value) for value in table[key].tolist()], dtype=np.int64)
            panels.append(plots.Strip(self.axis_of(key, names), ticks))
        values, title = table["value"].to_numpy(dtype=float), "\n".join(self.about)
        return plots.strips(panels, values, self.value_label, title, zero=self.zero, floor=self.floor)
