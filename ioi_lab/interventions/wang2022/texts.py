"""The texts of the report of the paper's experiments: question, answer, captions, methods and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.interventions.wang2022.figures import paths_name
from ioi_lab.reports.captions import SHARES, bars, joined
from ioi_lab.reports.definitions import WANG, Method
from ioi_lab.reports.wording import interval

if TYPE_CHECKING:
    from ioi_lab.interventions.wang2022.measure import CircuitResult, Wang2022Result
    from ioi_lab.reports.report import Report, ReportContext

_CIRCUIT: Final = Method(
    "F(C), F(M) and F(∅)",
    "The mean logit difference with the heads of the circuit C alone, of the whole model M, and with no head: "
    "all other heads are knocked out (replaced by their mean over ABC prompts). F(C) / F(M) is the share of the "
    "behaviour that the circuit has by itself.",
    WANG,
)
_COMPLETE: Final = Method(
    "Completeness and minimality",
    "A circuit is complete if it loses as much as the model does without any subset K of its heads: F(C∖K) = "
    "F(M∖K). It is minimal if each head changes F of the circuit without some K.",
    WANG,
)


def with_texts(
    report: Report, result: Wang2022Result, context: ReportContext, roles: Report, grids: Sequence[Report]
) -> Report:
    """Return the report with its texts; `roles` and `grids` are the reports of its parts."""
    captions = dict(roles.captions) | {
        "movement": (
            "Figure 3c of the paper: each prompt is two points per head, one by the IO (blue) and one by S (red): the "
            "attention from END to the name along the horizontal axis, the head's effect on that name's logit "
            "along the vertical one. A name mover's points rise from left to right."
        ),
        "patterns": joined(
            "The attention of all heads on repeated random tokens by which the early roles are assigned, a panel per "
            "pattern: rows are layers, columns heads.",
            SHARES,
        ),
        "completeness": (
            "Figure 7 of the paper: each point is a subset K of the circuit: the logit difference of the model "
            "without K along the horizontal axis, that of the circuit without K along the vertical one. Points "
            "on the line are what a complete circuit has."
        ),
        "minimality": joined(
            "What each head changes in the circuit without the subset K that shows it best. Pale bars are not found, "
            "corrected for heads and subsets.",
            bars(context.over),
        ),
    }
    captions |= {
        paths_name(number): f"Direct paths into the {paths.into}. {grid.captions['recovery_by_head']}"
        for number, (paths, grid) in enumerate(zip(result.paths, grids, strict=True))
    }
    methods = dict.fromkeys(
        [*roles.methods, *(method for grid in grids for method in grid.methods), _CIRCUIT, _COMPLETE]
    )
    return replace(
        report,
        question=f"Does {context.model} do {context.task} by heads with the roles that Wang et al. 2022 found?",
        answer=[*_circuit(result.circuit), *roles.answer],
        captions=captions,
        methods=list(methods),
        limits=[
            "The circuit is found and evaluated on the same prompts, so its share may be overstated.",
            *roles.limits[:2],
            "The worst subsets are chosen as such, and intervals are not corrected for that choice.",
        ],
    )


def _circuit(circuit: CircuitResult | None) -> list[str]:
    if circuit is None:
        return ["No head has a role, so there is no circuit to evaluate."]
    heads = " ".join(head.name for head in circuit.heads)
    sentences = [
        f"The circuit of all heads with a role ({heads}) has by itself a logit difference of "
        f"{interval(circuit.alone)}, which is {interval(circuit.share)} of the whole model's "
        f"{interval(circuit.whole)}; with no head it is {interval(circuit.nothing)}."
    ]
    if len(circuit.random):
        sentences.append(
            f"{circuit.n_random_below} of {len(circuit.random)} circuits of as many random heads at the same positions "
            "have less."
        )
    return sentences
