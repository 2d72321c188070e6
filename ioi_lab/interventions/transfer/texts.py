"""The texts of the report of transfer: question, answer, captions, methods and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.interventions.transfer.head_measure import HeadSwapResult
from ioi_lab.reports.definitions import RECOVERY, Method

if TYPE_CHECKING:
    from ioi_lab.interventions.transfer.measure import DirectionResult, TransferResult
    from ioi_lab.reports.report import Report, ReportContext

_MAPS: Final = Method(
    "Maps between models",
    "Affine maps from one model's residual stream to the other's, fitted on texts at shared positions. R² is "
    "measured on texts that they were not fitted on.",
    "arXiv 2506.00653; arXiv 2506.06609",
)
_OUTPUT_MAPS: Final = Method(
    "Maps of heads' outputs",
    "Ridge regression without a constant, from the difference between clean and corrupted outputs of the one head to "
    "that of the other on the training prompts; the penalty predicts prompts of other answers best.",
)
_STITCHED_MAPS: Final = Method(
    "Maps trained by stitching",
    "Maps of heads' outputs are trained further: with the image in the head's place, the target is to predict what it "
    "predicts with the head's own clean output there (KL, AdamW), at the length at which images are written. The "
    "prompts of a fifth of the answers show when to stop, and the best heads are chosen on them.",
    "Bansal et al. 2021, arXiv 2106.07682",
)
_VECTORS: Final = Method(
    "Native and carried vectors",
    "A native vector is made in the model that is steered. A carried one is made in the other model from the same "
    "prompts and goes through the map, or through the tokens that both have. Slopes are changes of the logit "
    "difference per unit of scale, on prompts that neither vectors nor layers were chosen on.",
    "arXiv 2503.04429",
)
_CONTROLS: Final = Method(
    "Controls of transfer",
    "Random maps, which send a vector in a random direction (through the vocabulary, each token in the place of "
    "another); the mean shift between the models, which leaves it on the axes as they are; and by its own route "
    "differences of training prompts, vectors of other pairs of names, and vectors of other contrasts of the same "
    "prompts (another concept). All have its norm. An effect transfers if the carried vector is steeper than each "
    "kind, with its whole interval. The target's own vector is compared with random maps and the mean shift at this "
    "norm too: those that it does not exceed either do not show whether anything comes over.",
)
_AGREEMENT: Final = Method(
    "Agreement prompt by prompt",
    "Pearson's correlation over held-out prompts between the slopes by the native and by the carried vector; the mean "
    "squared error is that between the two curves of the logit difference over prompts and scales. The correlations of "
    "unrelated directions show how far prompts are easy or hard to move for any direction.",
    "compare arXiv 2506.00653",
)
_HEADS: Final = Method(
    "Swapped heads",
    "A head's output in the corrupted prompt is replaced by the map's image of a head of the other model in the clean "
    "prompt, at the length of the head's own. The effect transfers if this recovers clearly more than the head's own "
    "mean, zeros, every other head of the other model in the same place, and the controls of functions below. If heads "
    "are paired by role, other heads with this role are no controls. In addition, every head takes the place of "
    "several; which of them is looked at is chosen on training prompts.",
    "roles: arXiv 2211.00593",
)
_FUNCTIONS: Final = Method(
    "When the function of a head comes over",
    "If the replaced head's own clean output adds to its mean, and the image of a head that has an effect in its own "
    "model recovers more than each control of the same length, with the whole interval: the mean, zeros, the average "
    "of all other heads, heads without effect in their own model, its image of other prompts, and the same vector in "
    "the place of heads without effect in other layers. What is written in one layer is added up before it is read, so "
    "that another place in the same layer would be the same edit. What recovers in every layer is not shown to do the "
    "work of the replaced head.",
)


def with_texts(
    report: Report,
    result: TransferResult,
    context: ReportContext,
    *,
    verdicts: Sequence[str],
    captions: Mapping[str, str],
) -> Report:
    """Return the report with its texts; `verdicts` has a text per direction."""
    forward, is_head = result.forward, isinstance(result.forward, HeadSwapResult)
    through = "the tokens that both models have" if result.map_title is None else f"a {result.map_title}"
    what = "the work of a head" if is_head else "the effect of a steering vector"
    limits = [
        "The map and the layers are taken as given: intervals do not have the uncertainty of their choice.",
        "What was chosen was chosen on training prompts; other layers, heads or contrasts may transfer differently.",
    ]
    if not all(_comes_over(direction) for direction in result.directions.values()):
        limits.append("That no transfer has been shown does not show that there is none.")
    if not result.names_differ:
        limits.append(
            "The held-out prompts have the same names as the training prompts, from which the vectors are made, and "
            "differ from them in their sentences, orders, places or objects."
        )
    if result.is_one_model:
        limits.append("Source and target are the same model, so this is a check of the method and no transfer.")
    if result.n_dropped_prompts:
        limits.append(
            f"{result.n_dropped_prompts} prompts are left out, whose names are in both halves or no single tokens."
        )
    directions = f"from {forward.source} to {forward.target}" + (", and back" if result.backward is not None else "")
    return replace(
        report,
        question=f"Does {what} on {context.task} transfer {directions}, through {through}?",
        answer=list(verdicts),
        captions=captions,
        methods=[*_maps(result), *([_HEADS, _FUNCTIONS, RECOVERY] if is_head else [_VECTORS, _CONTROLS, _AGREEMENT])],
        limits=limits,
    )


def _maps(result: TransferResult) -> list[Method]:
    if result.head_map == "outputs":
        return [_OUTPUT_MAPS]
    return [_OUTPUT_MAPS, _STITCHED_MAPS] if result.head_map == "stitched" else [_MAPS]


def _comes_over(direction: DirectionResult) -> bool:
    return direction.comes_over if isinstance(direction, HeadSwapResult) else direction.slopes.comes_over
