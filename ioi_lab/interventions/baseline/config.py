"""Whether the model does the task: its accuracy and its logit differences on unedited prompts, in all and by kind.

Experiments on a task that a model does not do explain nothing; so this comes first. Nothing is edited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from ioi_lab.interventions.base import Intervention

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.baseline.measure import BaselineResult
    from ioi_lab.models.shape import ModelShape
    from ioi_lab.reports.report import Report, ReportContext
    from ioi_lab.tasks.prompts import PromptPairs


class Baseline(Intervention["BaselineResult"]):
    """Measure the clean and the corrupted pass over all prompts, by sentence and by the order of labels."""

    name: str = "baseline"

    @property
    @override
    def title(self) -> str:
        return "baseline"

    @override
    def n_edit_sets(self, shape: ModelShape, prompts: PromptPairs) -> int:
        return 0

    @override
    def measure(self, engine: Engine) -> BaselineResult:
        from ioi_lab.interventions.baseline.measure import measure_baseline

        return measure_baseline(engine)

    @override
    def report(self, result: BaselineResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.baseline.report import report_baseline

        return report_baseline(result, context)
