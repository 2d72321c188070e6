"""The roles of attention heads in the IOI circuit, assigned from measured scores: Wang et al. 2022 (arXiv 2211.00593).

The criteria of the roles are in `ioi_lab.lenses.roles`, their thresholds in the config, and every score in the table.
A role for which no head has evidence stays empty. The name movers are put to the test: they are ablated together, and
compared with random heads of the same layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from typing_extensions import override

from ioi_lab.interventions.base import Intervention
from ioi_lab.lenses.roles import Thresholds

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.head_roles.measure import HeadRolesResult
    from ioi_lab.reports.report import Report, ReportContext


class HeadRoles(Intervention["HeadRolesResult"]):
    """Score every head on the clean prompts and on `repeats` sequences of random tokens, and assign the roles.

    `controls`: the number of random sets of heads that the name movers' ablation is compared with. `seed`: draws the
    sequences, the other prompt of each prompt, and the random sets.
    """

    title: ClassVar[str] = "head roles"

    name: str = "head_roles"
    thresholds: Thresholds = Thresholds()
    repeats: int = Field(16, ge=1)
    controls: int = Field(20, ge=1)
    seed: int = Field(0, ge=0)

    @override
    def measure(self, engine: Engine) -> HeadRolesResult:
        from ioi_lab.interventions.head_roles.measure import measure_head_roles

        return measure_head_roles(engine, self.thresholds, self.repeats, self.controls, self.seed)

    @override
    def report(self, result: HeadRolesResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.head_roles.report import report_head_roles

        return report_head_roles(result, context)
