"""The texts of the report of head roles: question, answer, captions, methods and limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.models.heads import head_name
from ioi_lab.reports.captions import bars, joined
from ioi_lab.reports.definitions import WANG, Method
from ioi_lab.reports.wording import enumerated

if TYPE_CHECKING:
    from ioi_lab.interventions.head_roles.measure import HeadRolesResult
    from ioi_lab.reports.report import Report, ReportContext

_ROLES: Final = Method(
    "Roles",
    "Conditions on measured scores: name movers attend from END to the IO, copy it and write it into the logits; "
    "S-inhibition heads attend to S2 and act on the name movers' queries; previous-token, duplicate-token and "
    "induction heads have these patterns on repeated random tokens and on the task. Every score has to reach its "
    "threshold in both orders of the names (ABBA and BABA), with an interval that excludes 0.",
    WANG,
)
_DIRECT: Final = Method(
    "Direct effect of a head",
    "What the head writes straight into the logit difference at END, as a share of it.",
    WANG,
)
_KNOCKOUT: Final = Method(
    "Knockout",
    "Heads are replaced at END by their mean over prompts with three unrelated names (ABC) of the same sentence and "
    "order; they are compared with random heads of the same layers.",
    WANG,
)


def with_texts(report: Report, result: HeadRolesResult, context: ReportContext, knockout: str) -> Report:
    """Return the report with its texts; `knockout` says what the knockout of the name movers changes."""
    empty = [_plural(role) for role, heads in result.roles.items() if not heads]
    found = [
        f"{_plural(role)} {enumerated([head_name(head) for head in heads])}"
        for role, heads in result.roles.items()
        if heads
    ]
    return replace(
        report,
        question=f"Which heads of {context.model} have the roles of the IOI circuit on {context.task}?",
        answer=[
            f"Found are {'; '.join(found)}." if found else "No head has any of the roles.",
            *([f"There is no evidence in both orders of the names for {enumerated(empty)}."] if empty else []),
            knockout,
        ],
        captions={
            "circuit": (
                "Heads with a role: a column per role, layers upwards. Arrows into the logits are direct effects "
                "as a share of the logit difference (blue raises it, red lowers it); arrows into name movers are "
                "the share of the gap between clean and corrupted prompts that reaches their queries from the head."
            ),
            "name_movers": (
                "Each point is a head, in a panel per order of the names: its attention from END to the IO along the "
                "horizontal axis, its direct effect on the logit difference along the vertical one. Name movers are at "
                "the top right in both panels."
            ),
            "ablation": joined(
                "The change of the logit difference if the name movers are knocked out at END, next to random heads of "
                "the same layers.",
                bars(context.over),
            ),
        },
        methods=[_ROLES, _DIRECT, _KNOCKOUT],
        limits=[
            "A role stays empty without evidence for it; that does not show that no head does its work.",
            "The thresholds of scores are choices (intervention.thresholds); results.csv has every score.",
            "Roles are found and tested on the same prompts.",
        ],
    )


def _plural(role: str) -> str:
    """Return the plural of a role: `name movers`, `induction heads`."""
    return f"{role}s" if role.endswith(("mover", "suppressor")) else f"{role} heads"
