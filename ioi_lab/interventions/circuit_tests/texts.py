"""The texts of the report of a circuit's tests: question, answer, captions, methods and limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.interventions.circuit_tests.verdict import outcomes
from ioi_lab.interventions.circuit_tests.verdicts import subject_line
from ioi_lab.reports.captions import RANKED, bars, joined
from ioi_lab.reports.definitions import FAITHFULNESS, WANG, Method
from ioi_lab.reports.wording import counted, sentence

if TYPE_CHECKING:
    from ioi_lab.interventions.circuit_tests.measure import CircuitTestsResult
    from ioi_lab.interventions.circuit_tests.verdict import Verdict
    from ioi_lab.reports.report import Report, ReportContext

_SHI: Final = "Shi et al. 2024, arXiv 2410.13032"
_TESTS: Final = (
    Method(
        "Sufficiency and necessity",
        "The circuit is compared with random ones of as many edges: whether it is nearer to f = 1, and whether "
        "the model loses more without it.",
        _SHI,
    ),
    Method(
        "Minimality",
        "Each edge (or each of the weakest) is left out of the circuit: its change of f is compared with that by edges "
        "added at random, with Bonferroni's correction.",
        _SHI,
    ),
    Method(
        "Equivalence",
        "The share of prompts on which the circuit scores above the whole model, which is 0.5 if both behave alike.",
        _SHI,
    ),
    Method(
        "Choice of ablation",
        "Faithfulness under every other way to ablate, with edges or with whole heads and MLPs kept.",
        "Miller et al. 2024, arXiv 2407.08734",
    ),
    Method(
        "Stability",
        "The search is run again on resampled prompts; the Jaccard index is the number of edges in both of two "
        "circuits over that in either.",
        "Méloux et al. 2025, arXiv 2510.00845",
    ),
    Method(
        "Completeness",
        "Sets K of heads and MLPs are left out of circuit and model: a complete circuit then loses as much as "
        "the model.",
        WANG,
    ),
    Method(
        "Self-repair",
        "Pairs of heads are left out alone and together: if they cost more together than the sum of both, one may back "
        "up the other.",
    ),
)


def with_texts(report: Report, result: CircuitTestsResult, context: ReportContext, found: Sequence[Verdict]) -> Report:
    """Return the report with its texts; `found` has the verdicts of the tests."""
    return replace(
        report,
        question=f"Is this circuit of {context.model} for {context.task} real: enough, needed, minimal, and stable?",
        answer=[
            f"Of {counted(len(found), 'test')}, {outcomes(found)}.",
            sentence(subject_line(result)),
            *(sentence(each.line) for each in found),
        ],
        captions=_captions(context),
        methods=[FAITHFULNESS, *_TESTS],
        limits=list(_limits(result)),
    )


def _captions(context: ReportContext) -> dict[str, str]:
    return {
        "random_circuits": joined(
            "Faithfulness f of the circuit, and of the model without it (blue points), next to random circuits "
            "of as many edges (grey points, one per circuit). A circuit that is enough lies near 1, beyond the "
            "random ones; one that is needed leaves the model with less f than random ones do.",
            bars(context.over),
        ),
        "minimality": joined(
            "What f loses if one edge of the circuit is left out.", RANKED, bars(context.over),
            "Pale bars change f by no more than edges that are added at random.",
        ),
        "ablations": (
            "Faithfulness of the same circuit by what ablated edges carry (rows), with its edges kept or all "
            "edges between its heads and MLPs (columns). If the cells differ much, the number depends on the method."
        ),
        "inclusion": (
            "How often each edge is found when the search is run again on resampled prompts. Pale bars are edges "
            "that are not in the circuit; in a stable circuit, all others are near 1."
        ),
        "completeness": (
            "Each point is a set K of heads and MLPs: f of the model without K along the horizontal axis, of the "
            "circuit without K along the vertical one. Points on the line are what a complete circuit has."
        ),
    }  # fmt: skip


def _limits(result: CircuitTestsResult) -> Iterator[str]:
    if result.subject.file is None and not result.subject.split.are_apart:
        yield "The circuit was found on the prompts that it is tested on."
    if len(result.minimality.edges) < result.minimality.n_edges:
        tested, n_edges = len(result.minimality.edges), result.minimality.n_edges
        yield f"Only the {tested} weakest of {n_edges} edges are tested for minimality."
    yield "The verdict “not shown” is no failure: these prompts and controls do not decide the test."
    yield "Tests of one circuit do not rule out another circuit that passes them as well."
