"""The texts of the report of attention patterns: question, answer, captions, methods and limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.interventions.attention.figures import map_name, page_name, pattern_name
from ioi_lab.lenses.attention import ELSEWHERE
from ioi_lab.models.heads import head_name
from ioi_lab.reports.captions import SHARES
from ioi_lab.reports.definitions import WANG, Method
from ioi_lab.reports.wording import enumerated, interval, sentence

if TYPE_CHECKING:
    from ioi_lab.interventions.attention.measure import AttentionResult
    from ioi_lab.reports.report import Report, ReportContext

_MAX_NAMED: Final = 5
_WEIGHT: Final = Method(
    "Attention weight",
    "How much of a query position's attention a head gives to a key position: the weights of one query are at least 0 "
    "and add up to 1. Means are over prompts, at the positions of the same labels.",
    WANG,
)


def with_texts(report: Report, result: AttentionResult, context: ReportContext, comparison: list[str]) -> Report:
    """Return the report with its texts; `comparison` has the lines about a patching run, if there is one."""
    first = next(iter(result.weights))
    named = []
    for head in result.ranking[:_MAX_NAMED]:
        named.append(f"{head_name(head)} ({interval(result.weights[first], result.row(head))})")
    ranking = f"By mean attention from {result.query} to {first}, the first of {len(result.ranking)} heads are"
    return replace(
        report,
        question=f"Which heads of {context.model} attend from {result.query} to {first} on {context.task}?",
        answer=[
            *_of_drawn(result),
            f"{ranking} {enumerated(named)}, on the {result.which} prompts. The ranking is not a test.",
            *map(sentence, comparison),
        ],
        captions=dict(_captions(result)),
        methods=[_WEIGHT],
        limits=[
            "Attention shows where a head reads, not what it moves or whether the answer depends on it; patch or "
            "ablate the heads to learn that.",
            "The patterns that are drawn are those of a single prompt.",
        ],
    )


def _of_drawn(result: AttentionResult) -> Iterator[str]:
    """Yield what heads that were asked for attend to most, if they are not simply the first of the ranking."""
    if result.drawn == result.ranking[: len(result.drawn)]:
        return
    named = []
    for head in result.drawn[:_MAX_NAMED]:
        row = result.row(head)
        most = max(result.weights, key=lambda key: result.weights[key].value[row])
        where = "tokens without a label" if most == ELSEWHERE else most
        named.append(f"{head_name(head)} to {where} ({interval(result.weights[most], row)})")
    yield f"From {result.query}, on the {result.which} prompts, the heads attend most: {enumerated(named)}."


def _captions(result: AttentionResult) -> Iterator[tuple[str, str]]:
    first = result.keys[0]
    yield (
        map_name(result),
        f"Each cell is the mean attention weight of one head from {result.query} to {first}: rows are layers, columns "
        f"are heads. {SHARES}",
    )
    pattern = "Rows are the tokens that attend (queries), columns those attended to (keys); each row adds up to 1."
    for layer in result.pages:
        yield page_name(layer), f"All heads of layer {layer} on one prompt, a panel per head. {pattern} {SHARES}"
    for head in result.drawn:
        yield pattern_name(head), f"Head {head_name(head)} on one prompt. {pattern} {SHARES}"
    yield (
        "attention_against_effect",
        f"Each point is a head: its mean attention from {result.query} to {first} along the horizontal axis, and the "
        "effect of patching it, from the other run, along the vertical one. Heads with both are at the top right.",
    )
