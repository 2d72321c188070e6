"""The texts of a circuit's report: question, answer, captions, methods and limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.interventions.circuit.figures import method_name
from ioi_lab.interventions.circuit.result import ACDC, GIVEN, CircuitResult
from ioi_lab.reports.captions import bands, joined
from ioi_lab.reports.definitions import FAITHFULNESS, WANG, Method
from ioi_lab.reports.wording import counted, enumerated, interval

if TYPE_CHECKING:
    from ioi_lab.reports.report import Report, ReportContext

_EDGES: Final = Method(
    "Edges",
    "An edge goes from a writer (the embedding, a head or an MLP) to a reader (a head's query, key or value, an MLP, "
    "or the logits). A circuit is a set of edges; the other edges are ablated: they carry {carried} instead.",
    "Conmy et al. 2023, arXiv 2304.14997",
)
_SCORES: Final = {
    "exact": Method("Exact scores", "What the objective loses if the edge alone is ablated, measured edge by edge."),
    "eap": Method(
        "EAP",
        "Edge attribution patching: the effect of ablating an edge, estimated to first order from one gradient.",
        "Syed et al. 2023, arXiv 2310.10348",
    ),
    "eap_ig_inputs": Method(
        "EAP-IG (inputs)",
        "Edge attribution patching with gradients averaged along the way between the embeddings of both prompts.",
        "Hanna et al. 2024, arXiv 2403.17806",
    ),
    "eap_ig_activations": Method(
        "EAP-IG (activations)",
        "Edge attribution patching with gradients averaged along the way between the activations of both prompts.",
        "Marks et al. 2024, arXiv 2403.19647",
    ),
    ACDC: Method(
        "ACDC",
        "Edges are left out one after another, from the logits down, as long as the objective falls by less than τ.",
        "Conmy et al. 2023, arXiv 2304.14997",
    ),
}
_SIZES: Final = Method(
    "CPR and CMD",
    "Over the share of edges: CPR is the area under the curve of faithfulness, CMD the area between the curve and 1.",
    "Mueller et al. 2025, arXiv 2504.13151",
)
_RANDOM: Final = Method(
    "Random circuits",
    "Circuits with as many edges, by random scores (uniform) or with as many edges into each layer and kind of input "
    "(matched): what faithfulness a circuit of this size has by chance.",
)


def with_texts(
    report: Report,
    result: CircuitResult,
    context: ReportContext,
    *,
    carried: str,
    edges: Sequence[str],
) -> Report:
    """Return the report with its texts.

    Args:
        report: The report.
        result: The result.
        context: The names of model and task.
        carried: What ablated edges carry.
        edges: The edges of the circuit with the largest scores, with their intervals.

    """
    model, task = context.model, context.task
    question = f"Which edges of {model} make a circuit for {task}, and how faithful is it to the whole model?"
    if result.first.method == GIVEN:
        question = f"How faithful is a circuit that was found elsewhere to {model} on {task}?"
    answer = [_circuit_sentence(result), *_controls(result)]
    if edges:
        answer.append(f"Its edges with the largest scores are {enumerated(edges)}.".replace("->", "\u2009→\u2009"))
    known = [_SCORES[name] for name in dict.fromkeys([*result.scores, result.first.method]) if name in _SCORES]
    return replace(
        report,
        question=question,
        answer=answer,
        captions=dict(_captions(result, context)),
        methods=[
            replace(_EDGES, definition=_EDGES.definition.format(carried=carried)),
            *known,
            FAITHFULNESS,
            _SIZES,
            _RANDOM,
        ],
        limits=list(_limits(result)),
    )


def _circuit_sentence(result: CircuitResult) -> str:
    first, size, split = result.first, result.chosen, result.split
    how = "The given circuit" if first.method == GIVEN else f"The circuit by {method_name(first.method)}"
    names = " with other names than those that it was found on" if split.are_apart else ""
    return (
        f"{how} has {int(first.found.kept[size]):,} of {result.graph.n_edges:,} edges, between "
        f"{first.n_nodes[size]} heads and MLPs. Its faithfulness is {interval(first.curve.faithfulness, size)} on "
        f"{counted(len(split.evaluation), 'prompt')}{names}; 1 is the whole model, 0 is no edge."
    )


def _controls(result: CircuitResult) -> list[str]:
    if result.first.found.kept[result.chosen] == result.graph.n_edges:
        return ["It has all edges, so no random circuit can be compared with it."]
    distance = abs(1 - result.first.curve.faithfulness.value[result.chosen])
    sentences = []
    for kind, text in (("uniform", "random circuits of this size"), ("matched", "with as many edges of each class")):
        values = getattr(result.controls, kind)[:, result.chosen]
        n_worse = int((np.abs(1 - values) > distance).sum())
        sentences.append(f"{n_worse} of {len(values)} {text} are less faithful (median {np.median(values):.2f})")
    return [f"{', and '.join(sentences)}."]


def _captions(result: CircuitResult, context: ReportContext) -> Iterator[tuple[str, str]]:
    kept = len(result.first.found.asked) > 0
    yield (
        "circuit",
        "The circuit as a graph, from the input on the left to the logits on the right: heads (layer.head) above, MLPs "
        "(m and the layer) below, each in the column of its layer. Blue edges help the answer, red ones work "
        "against it; the thicker, the larger the score. The letters q, k and v in a head say which of its inputs "
        "an edge goes into.",
    )
    yield (
        "faithfulness",
        joined(
            "Faithfulness of circuits of growing size: the share of edges along the horizontal axis, which is "
            "logarithmic. At 1 a circuit does what the whole model does.",
            bands(context.over),
            "The grey band has 95 % of random rankings." if kept else "",
        ),
    )
    yield (
        "edges_by_class",
        "The edges of the circuit, added up by the attention pattern of the heads at both ends (on repeated random "
        "tokens): rows are writers, columns readers. Cells have the sum of the scores and the number of edges. "
        + WANG
        + ".",
    )
    yield (
        "method_agreement",
        "The rank correlation (Spearman) of the scores of each two methods over all edges: 1 if they rank edges alike.",
    )
    yield (
        "circuit_overlap",
        f"The Jaccard index of circuits of equal size by {method_name(result.first.method)} and by another method: "
        "edges in both over edges in either. It is 1 for equal circuits.",
    )


def _limits(result: CircuitResult) -> Iterator[str]:
    split = result.split
    if result.first.method != GIVEN and not split.are_apart:
        yield "The circuit was found and evaluated on the same prompts, so its faithfulness may be overstated."
    if result.first.method == GIVEN:
        yield "The prompts that the circuit was found on are not known here; it may have been fitted to these names."
    yield (
        "Faithfulness says that the circuit is enough, by this ablation; whether each of its edges is needed and no "
        "other is, the intervention circuit_tests tests."
    )
    if set(result.scores) & {"eap", "eap_ig_inputs", "eap_ig_activations"}:
        yield "Scores are estimates to first order; those of the largest edges are not corrected for that choice."
    if result.keys.ablation == "zero":
        yield "After zeros, activations are far from any that the model was trained on."
