"""The report of every head of the source in the place of several heads of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ioi_lab.interventions.transfer.head_grid import PairGrid
from ioi_lab.interventions.transfer.head_margins_report import MarginReport
from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots
from ioi_lab.reports.captions import DIVERGING, joined, pale
from ioi_lab.reports.report import scalars
from ioi_lab.reports.wording import NOT_FOUND, interval, sentence

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class PairGridReport:
    """The lines, scalars, table and figure of the pairs of heads between two models; `title` is that of the figure."""

    def __init__(self, grid: PairGrid, models: tuple[str, str], title: str) -> None:
        self._grid, self._title = grid, title
        self._source, self._target = models
        self._margins = MarginReport(grid, models, title)

    def lines(self) -> list[str]:
        """Return for each replaced head the best one of the source with its controls, and whether any comes over."""
        grid = self._grid
        lines = [
            f"every head of {self._source} in the place of the {len(grid.replaced)} heads of {self._target} that "
            f"recover most when patched: {self._above()}"
        ]
        for row, head in enumerate(grid.replaced):
            lines.append(
                f"  {head_name(head)}: its own clean output recovers {interval(grid.own, row, '.3f')} beyond its mean; "
                f"head {head_name(grid.best[row])}, the best on training prompts, "
                f"{interval(grid.of_best, row, '.3f')}{self._share(row)}, rank {grid.rank_of_best(row)} of "
                f"{len(grid.sources)} on held-out prompts"
            )
            lines.append(f"    less {'; less '.join(self._margins.differences(row))}")
        return [*lines, f"  {self._margins.without_effect()}", f"  {self._verdict()}"]

    @property
    def answer(self) -> str:
        """Whether the function of any head comes over, as sentences with the numbers."""
        return (
            f"{self._source} → {self._target}, every head of the one in the place of {len(self._grid.replaced)} heads "
            f"of the other: {self._above()}. {sentence(self._verdict())}"
        )

    def _verdict(self) -> str:
        grid = self._grid
        if not grid.come_over:
            row = int(np.argmax(grid.of_best.value))
            return (
                "the function of no head is shown to come over: of the heads chosen on training prompts, "
                f"{self._pair(row)}; {self._margins.against(row)}"
            )
        rows, margin = grid.come_over, grid.margins.margins["other_layers"]
        return (
            f"the function of a head comes over in {len(rows)} of {len(grid.replaced)} places, above every control "
            f"with the whole interval: {self._pair(rows[0])}, and {interval(margin, rows[0])} more than the same image "
            "in other layers"
        )

    def _pair(self, row: int) -> str:
        grid = self._grid
        return (
            f"{head_name(grid.best[row])} recovers most, in the place of {head_name(grid.replaced[row])}: "
            f"{interval(grid.of_best, row)} beyond its mean{self._share(row)}"
        )

    def _share(self, row: int) -> str:
        """Return the share of what the head's own output adds, if that is clearly more than nothing."""
        if not self._grid.own.exceeds()[row]:
            return ""
        return f" ({interval(self._grid.share_of_best, row, '.0f', 100)} % of what its own output adds)"

    def _above(self) -> str:
        grid, n_pairs = self._grid, self._grid.beyond.size
        if grid.n_above is None:
            return f"there are too few prompts to test the {n_pairs} pairs"
        return f"{grid.n_above} of {n_pairs} pairs recover more than the head's mean (corrected for their number)"

    def metrics(self) -> dict[str, float]:
        """Return the scalars of all pairs, and of the best head in the place of each."""
        grid = self._grid
        metrics: dict[str, float] = {"n_pairs": grid.beyond.size}
        if grid.n_above is not None:
            metrics["n_pairs_above_mean"] = grid.n_above
        largest = int(np.argmax(grid.of_best.value))
        metrics |= scalars("best_pair_beyond_mean", grid.of_best, largest)
        metrics |= scalars("best_pair_share_of_own", grid.share_of_best, largest)
        metrics |= self._margins.metrics(largest)
        return metrics | {"n_functions_over": len(grid.come_over)}

    def table(self) -> pd.DataFrame:
        """Return a row for each pair of heads."""
        import pandas as pd

        grid = self._grid
        rows = [
            {
                "direction": f"{self._source} → {self._target}",
                "head": head_name(head),
                "source_head": head_name(other),
                "recovery_beyond_mean": grid.beyond[row, column],
                "own_recovery_beyond_mean": grid.own.value[row],
                "is_best_on_training_prompts": other == grid.best[row],
                "is_found": None if grid.not_found is None else not grid.not_found[row, column],
            }
            | (self._margins.columns(row) if other == grid.best[row] else {})
            for row, head in enumerate(grid.replaced)
            for column, other in enumerate(grid.sources)
        ]
        return pd.DataFrame(rows)

    @property
    def captions(self) -> dict[str, str]:
        """How to read the figures."""
        return {"recovery_by_pair": self._caption, "pairs_and_controls": self._margins.caption}

    def figures(self) -> dict[str, Figure]:
        """Draw all pairs, and the best ones with their controls."""
        return {"recovery_by_pair": self._map(), "pairs_and_controls": self._margins.figure()}

    @property
    def _caption(self) -> str:
        return joined(
            f"Each panel is a head of {self._target} that is replaced, each cell a head of {self._source} in its "
            "place: recovery beyond that of the replaced head's own mean; in brackets, what its own clean output adds.",
            DIVERGING,
            pale("prompts") if self._grid.not_found is not None else "",
            "Titles name the head that recovers most on the training prompts.",
        )

    def _map(self) -> Figure:
        """Draw all pairs, a panel per replaced head."""
        grid = self._grid
        layers = list(dict.fromkeys(layer for layer, _ in grid.sources))
        shape = (len(layers), -1)
        names = [
            f"{head_name(head)} (own {grid.own.value[row]:.2f})\nbest in training: {head_name(grid.best[row])}"
            for row, head in enumerate(grid.replaced)
        ]
        panels = {name: grid.beyond[row].reshape(shape) for row, name in enumerate(names)}
        faded = None
        if grid.not_found is not None:
            faded = {name: grid.not_found[row].reshape(shape) for row, name in enumerate(names)}
        note = f"\npale, without number: {NOT_FOUND}" if grid.not_found is not None and grid.not_found.any() else ""
        return plots.heat_maps(
            panels,
            plots.Axis(f"layer of {self._source}", [str(layer) for layer in layers]),
            plots.Axis.numbered("head", next(iter(panels.values())).shape[1]),
            f"{self._title}{note}",
            "recovery of the logit difference\nbeyond that of the head's own mean",
            floor=plots.EFFECT_FLOOR,
            pale=faded,
        )
