"""The figure of a sweep of studies: the headline number of each step, a panel per step, with the studies as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.reports import plots
from ioi_lab.reports.captions import joined
from ioi_lab.reports.wording import enumerated, sentence
from ioi_lab.runs.nulls import without_best
from ioi_lab.runs.step_values import StepValue
from ioi_lab.runs.sweep_figures import in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME: Final = "headline_by_step"
_IN_LOGITS: Final = ("logit_diff", "slope", "initial_slope", "efficiency")
"""Metrics in the logits of a model, which other models, and other answers, have on scales of their own."""

_SHARES: Final = ("recovery", "faithfulness")


@dataclass(frozen=True)
class StepFigure:
    """The studies of a sweep next to each other."""

    values: Sequence[StepValue]
    keys: Sequence[str]
    """The labels of what differs between the studies, such as `model`."""

    sweep: str
    common: Mapping[str, str]
    """What all studies have in common by its group, such as the task."""

    over: str = ""

    @property
    def name(self) -> str:
        """The name of the file."""
        return NAME

    @property
    def studies(self) -> list[str]:
        """The studies that have steps, in their order."""
        return list(dict.fromkeys(value.study for value in self.values))

    @property
    def _panels(self) -> dict[tuple[str, str], dict[str, StepValue]]:
        """The values by step and metric, then by study; without steps that only read the unedited model."""
        panels: dict[tuple[str, str], dict[str, StepValue]] = {}
        for value in self.values:
            if value.metric and np.isfinite(value.value) and not value.is_of_unedited_model:
                panels.setdefault((value.step, value.metric), {})[value.study] = value
        order = list(dict.fromkeys(value.step for value in self.values))
        return dict(sorted(panels.items(), key=lambda item: order.index(item[0][0])))

    @property
    def is_drawn(self) -> bool:
        """Whether there is a step to compare: at least two studies have a number for it."""
        return len(self.studies) > 1 and any(len(values) > 1 for values in self._panels.values())

    def draw(self) -> Figure:
        """Draw the figure."""
        states = {(value.study, value.step): value.state for value in self.values}
        panels = []
        for (step, metric), values in self._panels.items():
            nothing = (np.nan,) * 3
            rows = [values[name].change if name in values else nothing for name in self.studies]
            shown, low, high = np.array(rows).T
            missing = ["" if name in values else states.get((name, step), "not asked") for name in self.studies]
            missing = ["another metric" if state == "done" else state for state in missing]
            has_zero = any(value.unedited is not None for value in values.values())
            label = _label(metric, list(values.values()))
            panels.append(plots.Forest(step, label, shown, low, high, missing, has_zero))
        lines = [
            " · ".join(["headline of each step", *self.common.values()]),
            f"{self.sweep}: {len(self.studies)} studies",
            f"95 % intervals{f' over {self.over}' if self.over else ''}; each panel has a scale of its own",
        ]
        return plots.forests(self.studies, panels, "\n".join(lines), "the unedited run")

    @property
    def caption(self) -> str:
        """How to read the figure, and what is comparable in it."""
        left_out = list(dict.fromkeys(value.step for value in self.values if value.is_of_unedited_model))
        is_one = len(left_out) == 1
        out = (
            f"The {'step' if is_one else 'steps'} {enumerated(left_out)} {'reads' if is_one else 'read'} the unedited "
            f"model and {'has' if is_one else 'have'} no number of this kind."
        )
        return joined(
            f"The headline number of each step (panels) in each study (rows, by {enumerated(self.keys)}), as its "
            "change from the unedited run if the step edits the model, with its 95 % interval as a line and in "
            "numbers on the right; the dashed line is the unedited run.",
            self._comparable(),
            out if left_out else "",
        )

    def _comparable(self) -> str:
        """Return the sentence on which panels can be compared between studies."""
        panels = list(self._panels)
        logits = list(dict.fromkeys(step for step, metric in panels if without_best(metric) in _IN_LOGITS))
        best = [step for (step, _), values in self._panels.items() if any(each.n_sites > 1 for each in values.values())]
        parts = []
        if any(without_best(metric).endswith(_SHARES) for _, metric in panels):
            parts.append("recoveries and faithfulness are shares of each study's own logit difference")
        if "task" not in self.common and any(metric.endswith("accuracy") for _, metric in panels):
            parts.append("accuracy by chance need not be the same in all tasks")
        if logits:
            are = "is" if len(logits) == 1 else "are"
            parts.append(f"{enumerated(logits)} {are} in logits, of which models and tasks have scales of their own")
        if best:
            parts.append(
                f"{enumerated(best)} {'shows' if len(best) == 1 else 'show'} the best of several sites, which may be "
                "others in each study, and the best of more sites is larger by chance alone"
            )
        return sentence("; ".join(parts)) if parts else ""


def _label(metric: str, values: Sequence[StepValue]) -> str:
    """Return what a panel shows, what it is the best of, and what it is the change from."""
    counts = sorted({value.n_sites for value in values if value.n_sites > 1})
    of = f"\n(best of {counts[0] if len(counts) == 1 else f'{counts[0]} to {counts[-1]}'} sites)" if counts else ""
    runs = list(dict.fromkeys(value.unedited.run for value in values if value.unedited is not None))
    name = in_words(without_best(metric) if runs else metric)
    unit = " (logits)" if without_best(metric) in _IN_LOGITS else ""
    if not runs:
        return f"{name}{unit}{of}"
    source = f"\nfrom {runs[0]}" if len(runs) == 1 and runs[0] else ""
    return f"change in {name}{unit}{of}{source}"
