"""The experiments of Wang et al. 2022 (Interpretability in the Wild, arXiv 2211.00593) on any model's own heads.

Roles of heads, path patching into the logits and backwards into what writes there, and the circuit of all heads with a
role: its faithfulness, completeness and minimality under knockouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from typing_extensions import override

from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.head_roles.config import RoleKeys

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.wang2022.measure import Wang2022Result
    from ioi_lab.reports.report import Report, ReportContext


class Wang2022(RoleKeys, Intervention["Wang2022Result"]):
    """Find the circuit of the heads that have a role, and evaluate it by the measures of the paper.

    The greedy search for completeness tries all heads of the circuit at each step, and minimality tries no head and
    whole roles as K, while the paper samples the former and chooses the latter by hand.

    `n_reference`: the number of prompts with three unrelated names for each sentence and order, whose means knock out
    heads. `random_sets`: the number of random subsets of the circuit, and of random circuits that it is compared with;
    `seed` draws them too. `greedy_steps`: the size of the largest greedy subset. For the other keys see `RoleKeys`.
    """

    title: ClassVar[str] = "wang2022"

    name: str = "wang2022"
    n_reference: int = Field(32, ge=2)
    random_sets: int = Field(20, ge=0)
    greedy_steps: int = Field(5, ge=0)

    @override
    def measure(self, engine: Engine) -> Wang2022Result:
        from ioi_lab.interventions.wang2022.measure import measure_wang2022

        return measure_wang2022(
            engine,
            self.thresholds,
            n_sequences=self.repeats,
            n_controls=self.controls,
            n_reference=self.n_reference,
            n_random=self.random_sets,
            n_greedy=self.greedy_steps,
            seed=self.seed,
        )

    @override
    def report(self, result: Wang2022Result, context: ReportContext) -> Report:
        from ioi_lab.interventions.wang2022.report import report_wang2022

        return report_wang2022(result, context)
