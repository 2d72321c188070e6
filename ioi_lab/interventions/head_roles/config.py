"""The roles of attention heads in the IOI circuit, assigned from measured scores: Wang et al. 2022 (arXiv 2211.00593).

The criteria of the roles are in `ioi_lab.lenses.roles`, their thresholds in the config, and every score in the table.
A role for which no head has evidence in both orders of the names stays empty. The name movers are put to the test: they
are knocked out together, and compared with random heads of the same layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from typing_extensions import override

from ioi_lab.config import LabConfig
from ioi_lab.interventions.base import Intervention
from ioi_lab.lenses.roles import Thresholds

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.interventions.head_roles.measure import HeadRolesResult
    from ioi_lab.reports.report import Report, ReportContext


class RoleKeys(LabConfig):
    """The keys by which roles are assigned.

    `repeats`: the number of sequences of repeated random tokens. `controls`: the number of random heads that
    S-inhibition heads are compared with, and of random sets of heads that the name movers are compared with. `seed`:
    draws the sequences, the random heads, and the prompts whose means knock out heads.
    """

    thresholds: Thresholds = Thresholds()
    repeats: int = Field(16, ge=8)
    controls: int = Field(40, ge=20)
    seed: int = Field(0, ge=0)


class HeadRoles(RoleKeys, Intervention["HeadRolesResult"]):
    """Score every head on the clean prompts and on sequences of random tokens, and assign the roles.

    `n_reference`: the number of prompts with three unrelated names, for each sentence and order, whose means knock out
    heads. For the other keys see `RoleKeys`.
    """

    title: ClassVar[str] = "head roles"

    name: str = "head_roles"
    n_reference: int = Field(16, ge=2)

    @override
    def measure(self, engine: Engine) -> HeadRolesResult:
        from ioi_lab.circuits.knockout import Knockout
        from ioi_lab.interventions.head_roles.measure import measure_head_roles

        knockout = Knockout(engine, self.n_reference, self.seed)
        return measure_head_roles(engine, self.thresholds, self.repeats, self.controls, knockout, self.seed)

    @override
    def report(self, result: HeadRolesResult, context: ReportContext) -> Report:
        from ioi_lab.interventions.head_roles.report import report_head_roles

        return report_head_roles(result, context)
