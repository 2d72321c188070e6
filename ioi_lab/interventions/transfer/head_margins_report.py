"""The report of the best heads of the source next to their controls, in each place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ioi_lab.interventions.transfer.head_margins import CONTROLS
from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots
from ioi_lab.reports.captions import bars, joined
from ioi_lab.reports.report import scalars
from ioi_lab.reports.wording import enumerated, interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from ioi_lab.interventions.transfer.head_grid import PairGrid
    from ioi_lab.interventions.transfer.head_margins import Control, HeadMargins
    from ioi_lab.stats.bootstrap import Estimate

_OWN: Final = "the replaced head's clean output"
_ELSEWHERE: Final = "the same in other layers"


class MarginReport:
    """The phrases, columns, scalars and figure of the controls; `title` is that of the figure."""

    def __init__(self, grid: PairGrid, models: tuple[str, str], title: str) -> None:
        self._grid, self._margins, self._title = grid, grid.margins, title
        self._source, self._target = models

    def differences(self, row: int) -> list[str]:
        """Return how much the best head is above each control, in the place of one replaced head."""
        return differences(self._margins, row)

    def against(self, row: int) -> str:
        """Return why the function of the best head is not shown to come over in one place."""
        reasons = []
        if controls := self._margins.not_exceeded(row):
            reasons.append(f"it is not clearly above {enumerated([CONTROLS[name] for name in controls])}")
        if not self._grid.own.exceeds()[row]:
            reasons.append("the replaced head's own clean output is not clearly above its mean")
        if not self._grid.has_function(row):
            reasons.append("it is among the heads without effect in its own model")
        return "; ".join(reasons)

    def without_effect(self) -> str:
        """Return the heads without effect, and how large their effects are."""
        idle = self._margins.idle
        places = dict.fromkeys(place for of_head in idle.places.values() for place in of_head)
        parts = [
            f"{enumerated([head_name(head) for head in heads])} of {model} (largest absolute recovery {largest:.2g})"
            for heads, model, largest in zip(
                (idle.of_source, list(places)), (self._source, self._target), idle.largest, strict=True
            )
            if heads
        ]
        return f"heads without effect, by patching on training prompts: {', and '.join(parts) or 'none'}"

    def columns(self, row: int) -> dict[str, Any]:
        """Return the columns of `pairs.csv` for the best head in one place."""
        columns: dict[str, Any] = {}
        for name, margin in self._margins.margins.items():
            columns |= _with_bounds(f"above_{name}", margin, row)
        if (own := self._margins.own_above_other_layers) is not None:
            columns |= _with_bounds("own_above_other_layers", own, row)
        places = self._margins.idle.places[self._grid.replaced[row]]
        columns["other_layers"] = " ".join(map(head_name, places))
        return columns | {"comes_over": row in self._grid.come_over}

    def metrics(self, row: int) -> dict[str, float]:
        """Return the scalars of the best head in one place."""
        metrics: dict[str, float] = {}
        for name, margin in self._margins.margins.items():
            if name != "mean":
                metrics |= scalars(f"best_pair_above_{name}", margin, row)
        if (own := self._margins.own_above_other_layers) is not None:
            metrics |= scalars("best_pair_own_above_other_layers", own, row)
        return metrics

    @property
    def caption(self) -> str:
        """How to read the figure."""
        return joined(
            f"For each head of {self._target} that is replaced, the head of {self._source} that recovers most on the "
            "training prompts, and its controls at equal length, all beyond the mean of the head in whose place they "
            "are written.",
            bars("prompts"),
            "If the replaced head's own clean output recovers as much in other layers, the place is not shown to "
            "matter even to what this head writes.",
        )

    def figure(self) -> Figure:
        """Draw the best heads and their controls, a group per replaced head."""
        grid, margins = self._grid, self._margins
        levels: dict[str, Estimate] = {_OWN: grid.own}
        if margins.own_in_other_layers is not None:
            levels[_ELSEWHERE] = margins.own_in_other_layers
        levels["the best head's image"] = grid.of_best
        levels |= {CONTROLS[name]: level for name, level in margins.levels.items() if name != "mean"}
        colours = plots.distinct(len(levels))
        lines = [
            plots.Line(name, level.value, level.low, level.high, colour=colour)
            for (name, level), colour in zip(levels.items(), colours, strict=True)
        ]
        names = [f"{head_name(head)} ← {head_name(best)}" for head, best in zip(grid.replaced, grid.best, strict=True)]
        return plots.small_multiples(
            plots.Axis(f"replaced head of {self._target} ← best head of {self._source}", names),
            [plots.Multiple("", lines)],
            "recovery of the logit difference\nbeyond the mean in its place",
            self._title,
            zero="no more than the mean",
        )


def differences(margins: HeadMargins, row: int, among: Sequence[Control] = tuple(CONTROLS)) -> list[str]:
    """Return how much a head of the source is above some of its controls but the mean, in one row."""
    texts = []
    for name, margin in margins.margins.items():
        if name in among and name != "mean":
            of_own = _of_own(margins.own_above_other_layers, row) if name == "other_layers" else ""
            texts.append(f"{CONTROLS[name]} {interval(margin, row, '.3f')}{of_own}")
    return texts


def _of_own(own: Estimate | None, row: int) -> str:
    """Return how much more the replaced head's own output recovers in its place than in other layers."""
    if own is None:
        return ""
    blind = "" if own.exceeds()[row] else ", so that the place is not shown to matter"
    return f" (for the replaced head's own clean output: {interval(own, row, '.3f')}{blind})"


def _with_bounds(name: str, estimate: Estimate, row: int) -> dict[str, float]:
    return {name: estimate.value[row], f"{name}_low": estimate.low[row], f"{name}_high": estimate.high[row]}
