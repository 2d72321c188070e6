"""The report of a second map, fitted on another corpus, next to the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.interventions.transfer.vector_figures import marked_slope
from ioi_lab.interventions.transfer.vector_report import VectorTransferReport
from ioi_lab.interventions.transfer.vector_result import VectorTransferResult
from ioi_lab.interventions.transfer.vector_summary import verdict
from ioi_lab.reports import plots
from ioi_lab.reports.wording import interval

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ioi_lab.reports.report import ReportContext

_METRICS: Final = (
    *("map_r2", "cosine_to_native", "norm", "slope", "share_of_native", "share_at_native_norm", "prompt_correlation"),
    *("relative_error", "steepest_control_slope", "quantile_of_unrelated_prompts", "quantile_of_unrelated_names"),
    *(
        "native_slope_at_carried_norm",
        "controls_are_in_reach",
        "beats_controls",
        "beats_unrelated",
        "beats_mismatched",
        "comes_over",
    ),
)
"""The metrics of the first map that the second one has too, with their bounds."""


class OtherMapReport:
    """What one direction's vector does through two maps of the same layers; `titles` are those of the maps."""

    def __init__(
        self,
        results: tuple[VectorTransferResult, VectorTransferResult],
        titles: tuple[str, str],
        context: ReportContext,
    ) -> None:
        self._first, self._other = results
        self._titles, self._context = titles, context

    def metrics(self) -> dict[str, float]:
        """Return metrics of the second map; their names begin with `other_map_`."""
        metrics = VectorTransferReport(self._other, self._titles[1], self._context).metrics()
        wanted = {f"{name}{bound}" for name in _METRICS for bound in ("", "_low", "_high")}
        return {f"other_map_{name}": value for name, value in metrics.items() if name in wanted}

    def slope_table(self) -> pd.DataFrame:
        """Return a row per vector of the pair of layers, as for the first map."""
        table = VectorTransferReport(self._other, self._titles[1], self._context).slope_table()
        return table.assign(map=self._titles[1])

    @property
    def line(self) -> str:
        """What the vector does through the second map, as a sentence with its numbers."""
        other, slopes = self._other, self._other.slopes
        shares = ""
        if slopes.native_steers:
            own, rescaled = (
                interval(share, form=".0f", factor=100) for share in (slopes.share, slopes.share_at_native_norm)
            )
            shares = f" ({own} % of the native slope, {rescaled} % at its norm)"
        unrelated = "".join(f", 97.5 % of {kind.noun} below {kind.quantile:.2f}" for kind in slopes.unrelated)
        return (
            f"{other.name}, through a {self._titles[1]} instead (R² {other.map_r2:.2f}, cosine with the native vector "
            f"{other.cosine_to_native:.2f}): slope {interval(slopes.carried)}{shares}, next to "
            f"{interval(self._first.slopes.carried)} through the {self._titles[0]}; of controls by that route, the "
            f"steepest of {other.n_controls} has {slopes.steepest_control:.2f}{unrelated}: {verdict(other)}"
        )

    @property
    def caption(self) -> str:
        """How to read the figure."""
        return (
            f"Slopes of the vector of {self._first.source} in {self._first.target} through two maps of the same "
            "layers, and of the native vector; blue points with 95 % intervals. Grey points are other "
            "directions through the same map at the same norm, with their 97.5 % quantile in red."
        )

    def figure(self) -> Figure:
        """Draw the carried vector and unrelated directions through both maps."""
        first, other = self._first, self._other
        marked, samples = [], []
        for result, title in zip((first, other), self._titles, strict=True):
            texts = title.partition(" fitted on ")[2]
            marked.append(
                marked_slope(f"carried, map of\n{texts}", result.slopes.carried, is_pale=not result.slopes.comes_over)
            )
            directions = np.concatenate([kind.mean_slopes for kind in result.slopes.unrelated])
            quantile = max(kind.quantile for kind in result.slopes.unrelated)
            samples.append(plots.Samples(f"unrelated, map of\n{texts}", directions, quantile))
        marked.append(marked_slope("native", first.slopes.native, is_pale=not first.slopes.native_steers))
        from_layer, to_layer = first.best
        return plots.spreads(
            marked,
            samples,
            "logits per unit of scale",
            f"Slopes of steering {first.target} with a vector of {first.source} through two maps\n{first.component} "
            f"{from_layer} → {to_layer} at {first.position}\n{self._context.task}, {first.n_prompts} held-out prompts"
            f"{self._context.precision_note}",
            ["pale: not shown to exceed every kind of control; red: the larger 97.5 % quantile of both kinds"],
        )
