"""Attribution patching: an estimate of the whole patching grid from two forward passes and one backward pass.

Method: Nanda 2023; Syed et al. 2023 (arXiv 2310.10348); with integrated gradients, Hanna et al. 2024 (arXiv
2403.17806). It is an estimate to first order, which can be far off if the model is not linear between the two passes:
with `check`, the exact grid is measured as well and the rank correlation of the two is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, Self

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.interventions.baselines import Baselines, estimates_of
from ioi_lab.interventions.grid_measure import grid_result
from ioi_lab.interventions.grid_result import GridResult
from ioi_lab.interventions.patch import Patch
from ioi_lab.interventions.self_checks import checked_run
from ioi_lab.reports.definitions import Method
from ioi_lab.reports.wording import sentence
from ioi_lab.stats.bootstrap import Estimate

ESTIMATED: Final = "estimates to first order, of which all intervals and tests are; the exact effects may differ:"

_LIMIT: Final = (
    "All effects, intervals and tests are of estimates from gradients, to first order: where the model is not linear "
    "between the two passes, the effects of patching itself differ."
)
_CAPTION: Final = (
    "Each point is one row of the grid: its exact recovery, measured by patching, along the horizontal axis, and its "
    "estimate along the vertical one. On the line, the estimate is exact; points with a name are the largest."
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.grid_report import GridReport
    from ioi_lab.reports.report import Report, ReportContext


@dataclass(frozen=True)
class ExactGrid:
    """The exact values of the estimated rows, and how close the estimates are."""

    logit_diff: Estimate
    recovery: Estimate
    rank_correlation: float
    """Spearman's rank correlation of estimated and exact recovery over the rows; NaN for one row."""

    largest_error: float
    """The largest absolute difference between estimated and exact recovery."""


@dataclass(frozen=True)
class AttributionResult(GridResult):
    """The estimated rows of a grid, and the exact ones if they were asked for."""

    exact: ExactGrid | None


class AttributionPatch(Patch):
    """Estimate the effects of `patch`: Σ (other pass's activation − base pass's) · gradient of the logit difference.

    `ig_steps`: 0 for the gradient at the base pass, else the number of points on the way to the other pass that it is
    averaged over. `check`: measure the exact grid too.
    """

    action: ClassVar[str] = "Estimate of patching"

    name: str = "attribution_patch"
    ig_steps: int = Field(0, ge=0)
    check_exact: bool = Field(True, alias="check")

    @model_validator(mode="after")
    def _metric_is_estimated(self) -> Self:
        if self.metric != "logit_diff":
            raise LabError(
                f"intervention.metric: got {self.metric!r}, but attribution patching estimates the logit difference "
                "alone; expected logit_diff, or intervention=patch"
            )
        return self

    @property
    @override
    def title(self) -> str:
        return f"attribution {super().title}"

    @property
    @override
    def details(self) -> str:
        gradient = f"{self.ig_steps} integrated-gradient steps" if self.ig_steps else f"gradient at {self.base}"
        return f"{super().details}\nattribution patching, {gradient}"

    @property
    @override
    def how(self) -> str:
        return f"{super().how}, as estimated from gradients"

    @property
    @override
    def methods(self) -> Sequence[Method]:
        gradient = f"the gradient at the {self.base} pass"
        if self.ig_steps:
            gradient = f"the mean gradient at {self.ig_steps} points between the passes (integrated gradients)"
        return [
            *super().methods,
            Method(
                "Attribution patching",
                f"The effect of patching is estimated to first order: the difference between the activations of the "
                f"two passes, times {gradient} of the logit difference, summed over the site.",
                "Nanda 2023; Syed et al. 2023, arXiv 2310.10348; Hanna et al. 2024, arXiv 2403.17806",
            ),
        ]

    @override
    def measure(self, engine: Engine) -> AttributionResult:
        baselines = Baselines.measure(engine)
        rows = self.rows(engine.shape, engine.prompts)
        plan = self.plan(rows, engine)
        readout, checks = checked_run(engine, plan if self.check_exact else [], self.base)
        estimated = engine.estimate(plan, self.base, ig_steps=self.ig_steps)
        result = grid_result(engine, baselines, rows, estimated, checks, self.base, self._noun(engine.shape))
        exact = None
        if self.check_exact:
            exact = _compared(estimates_of(engine, readout), result.estimates["recovery"])
        return AttributionResult(**vars(result), exact=exact)

    @override
    def report(self, result: GridResult, context: ReportContext) -> Report:
        """Return the report of patching for the estimates; with `check`, the exact values next to them."""
        import pandas as pd

        from ioi_lab.interventions.grid_report import GridReport

        grid = GridReport(result, self._grid_title, context)
        report = grid.report()
        assert isinstance(result, AttributionResult)
        report = replace(report, summary=[ESTIMATED, *report.summary], limits=[_LIMIT, *report.limits])
        if (exact := result.exact) is None:
            return report
        table = pd.DataFrame(report.table).assign(
            exact_logit_diff=exact.logit_diff.value,
            exact_recovery=exact.recovery.value,
            exact_recovery_low=exact.recovery.low,
            exact_recovery_high=exact.recovery.high,
        )
        scores = {"rank_correlation": exact.rank_correlation, "largest_error": exact.largest_error}
        line = (
            f"against the exact grid: rank correlation {exact.rank_correlation:.3f}, largest error in recovery "
            f"{exact.largest_error:.3f}"
        )
        estimate = result.estimates["recovery"]
        return replace(
            report,
            table=table,
            metrics=report.metrics | {name: value for name, value in scores.items() if np.isfinite(value)},
            draw=lambda: report.draw() | {"estimate_against_exact": _scatter(grid, estimate, exact)},
            summary=[*report.summary, line],
            answer=[*report.answer, sentence(line)],
            captions={**report.captions, "estimate_against_exact": _CAPTION},
        )


def _compared(exact: dict[str, Estimate], estimate: Estimate) -> ExactGrid:
    from scipy.stats import spearmanr

    recovery = exact["recovery"]
    several = len(recovery.value) > 1
    return ExactGrid(
        logit_diff=exact["logit_diff"],
        recovery=recovery,
        rank_correlation=float(spearmanr(estimate.value, recovery.value).statistic) if several else np.nan,
        largest_error=float(np.abs(estimate.value - recovery.value).max()),
    )


def _scatter(grid: GridReport, estimate: Estimate, exact: ExactGrid) -> Figure:
    from ioi_lab.reports import plots

    return plots.scatter(
        exact.recovery.value,
        estimate.value,
        grid.labels,
        x_label="exact (patching)",
        y_label="estimate (attribution patching)",
        title=f"{grid.title}\nrecovery; rank correlation {exact.rank_correlation:.2f}",
        line="estimate = exact",
    )
