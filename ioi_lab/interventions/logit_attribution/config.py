"""Direct logit attribution: the term that each component writes straight into the logit difference at END.

With the scales of norms fixed at their values in the pass, this is exact: the terms add up to the model's logit
difference (before the cap, if the model caps its logits), which every run checks. Method: see `ioi_lab.lenses.direct`.
Nothing is edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from ioi_lab.config import Renamed
from ioi_lab.engine.edits import Pass
from ioi_lab.interventions.base import Intervention

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.logit_attribution.measure import LogitAttributionResult
    from ioi_lab.models.shape import ModelShape
    from ioi_lab.reports.report import Report, ReportContext
    from ioi_lab.tasks.prompts import PromptPairs


class LogitAttribution(Intervention["LogitAttributionResult"]):
    """Measure the direct effect of the embedding, each head, each MLP and all biases.

    `prompts`: the `clean` or the `corrupted` prompts.
    """

    renamed_keys: ClassVar[Mapping[str, Renamed]] = {"run": Renamed("prompts")}

    name: str = "logit_attribution"
    prompts: Pass = "clean"

    @property
    @override
    def title(self) -> str:
        return "logit attribution" + (" (corrupted)" if self.prompts == "corrupted" else "")

    @override
    def n_edit_sets(self, shape: ModelShape, prompts: PromptPairs) -> int:
        return 0

    @override
    def measure(self, engine: Engine) -> LogitAttributionResult:
        from ioi_lab.interventions.logit_attribution.measure import measure_logit_attribution

        return measure_logit_attribution(engine, self.prompts)

    @override
    def report(self, result: LogitAttributionResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.logit_attribution.report import report_logit_attribution

        return report_logit_attribution(result, context)
