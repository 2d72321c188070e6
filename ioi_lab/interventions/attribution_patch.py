"""Attribution patching: an estimate of the whole patching grid from two forward passes and one backward.

Method: Nanda 2023; Syed et al. 2023 (arXiv 2310.10348); with integrated gradients, Hanna et al. 2024 (arXiv
2403.17806). An estimate to first order, which can be far off where the model is not linear between the two runs: with
`check`, the exact grid is run beside it and their rank correlation is reported.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ioi_lab import plots
from ioi_lab.edits import EditSet
from ioi_lab.interventions.base import Measurement, Report
from ioi_lab.interventions.grid import Findings
from ioi_lab.interventions.patch import Patch
from ioi_lab.metrics import Readout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.engine import Engine


class AttributionPatch(Patch):
    """Estimate what `patch` measures: Σ (other run's activation − base run's) · gradient of the logit difference.

    `ig_steps`: 0 for the gradient at the base run, else the number of points that it is averaged over on the way to the
    other run. `check`: run the exact grid too.
    """

    ig_steps: int = Field(ge=0)
    check_exact: bool = Field(alias="check")

    @property
    def title(self) -> str:
        """Such as `attribution patch z`."""
        return f"attribution {super().title}"

    @property
    def action(self) -> str:
        """`Estimate of patching`."""
        return "Estimate of patching"

    @property
    def details(self) -> str:
        """The direction, and how the gradient was taken."""
        gradient = f"{self.ig_steps} integrated-gradient steps" if self.ig_steps else f"gradient at {self.base}"
        return f"{super().details}\nattribution patching, {gradient}"

    def plan(self, engine: Engine) -> list[EditSet]:
        """The exact grid, if it is asked for."""
        return super().plan(engine) if self.check_exact else []

    def observe(self, engine: Engine) -> Readout:
        """The estimated logit difference of each row."""
        return engine.estimate(super().plan(engine), self.base, ig_steps=self.ig_steps)

    def report(self, measurement: Measurement) -> Report:
        """The report of patching for the estimates; with `check`, the exact values beside them."""
        estimated = replace(measurement, edited=measurement.observed)
        report = super().report(estimated)
        if not self.check_exact:
            return report
        from scipy.stats import spearmanr

        exact = measurement.edited_estimates["recovery"]
        estimate = estimated.edited_estimates["recovery"]
        correlation = float(spearmanr(estimate.value, exact.value).statistic) if len(exact.value) > 1 else np.nan
        error = float(np.abs(estimate.value - exact.value).max())
        table = report.table.assign(
            exact_logit_diff=measurement.edited_estimates["logit_diff"].value,
            exact_recovery=exact.value,
            exact_recovery_low=exact.low,
            exact_recovery_high=exact.high,
        )
        scores = {"rank_correlation": correlation, "largest_error": error}
        line = f"against the exact grid: rank correlation {correlation:.3f}, largest error in recovery {error:.3f}"
        findings = Findings(self, estimated, self.rows(measurement.shape, measurement.prompts))
        return replace(
            report,
            table=table,
            metrics=report.metrics | {name: value for name, value in scores.items() if np.isfinite(value)},
            draw=lambda: (
                report.draw() | {"estimate_against_exact": _scatter(findings, estimate.value, exact.value, correlation)}
            ),
            summary=[*report.summary, line],
        )


def _scatter(findings: Findings, estimate: plots.Array, exact: plots.Array, correlation: float) -> Figure:
    return plots.scatter(
        exact,
        estimate,
        findings.labels,
        x_label="exact (patching)",
        y_label="estimate (attribution patching)",
        title=f"{findings.title}\nrecovery; rank correlation {correlation:.2f}",
        line="estimate = exact",
    )
