"""The texts of a lens's report: question, answer, captions, methods and limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ioi_lab.reports.captions import SHARES, bands, joined, pale
from ioi_lab.reports.definitions import Method, tests
from ioi_lab.reports.wording import interval

if TYPE_CHECKING:
    from ioi_lab.interventions.logit_lens.measure import LogitLensResult
    from ioi_lab.reports.report import Report, ReportContext

_LOGIT_LENS: Final = Method(
    "Logit lens",
    "The residual stream after a layer is read as if the model ended there: it goes through the model's own final norm "
    "and unembedding. embed is the stream before the first layer.",
    "nostalgebraist 2020, interpreting GPT: the logit lens",
)
_TUNED_LENS: Final = Method(
    "Tuned lens",
    "The logit lens with a trained affine translator per layer in front of the final norm, which makes up for layers "
    "that write in other directions than the last one.",
    "Belrose et al. 2023, arXiv 2303.08112",
)
_RANK: Final = Method(
    "Rank of the answer", "1 for the likeliest next token, 2 for the second likeliest; the mean over prompts."
)
_CLEAN_CORRUPTED: Final = "Blue lines are the clean prompts, red lines the corrupted ones"


def with_texts(report: Report, result: LogitLensResult, context: ReportContext, title: str, lead: str) -> Report:
    """Return the report with its texts.

    Args:
        report: The report.
        result: The result.
        context: The names of model and task.
        title: The name of the lens.
        lead: The line on where the answer leads.

    """
    position = result.prompts.position_name(result.main_position)
    is_tuned = result.held_out is not None or title.startswith("tuned")
    return replace(
        report,
        question=f"After which layer does {context.model} prefer the answer on {context.task}, by the {title}?",
        answer=[f"At {position} of the clean prompts, {lead}.", *_ends(result), *_quality(result)],
        captions=_captions(result, context),
        methods=[_LOGIT_LENS, *([_TUNED_LENS] if is_tuned else []), _RANK, tests(context.over)],
        limits=_limits(result, is_tuned=is_tuned),
    )


def _ends(result: LogitLensResult) -> list[str]:
    """Return the logit difference before the first layer and after the last one."""
    values = result.at("clean", "logit_diff", result.main_position)
    last = len(result.sites) - 1
    return [
        f"The logit difference that it reads there goes from {interval(values, 0)} before the first layer to "
        f"{interval(values, last)} after the last one, where the lens is the model itself."
    ]


def _quality(result: LogitLensResult) -> list[str]:
    if result.held_out is None:
        return []
    plain, tuned = (interval(result.held_out.mean[lens], form=".3f") for lens in ("plain", "tuned"))
    return [
        f"On held-out text, the trained lens is {tuned} nats of KL divergence from the model's output in the mean over "
        f"layers, the logit lens {plain}."
    ]


def _captions(result: LogitLensResult, context: ReportContext) -> dict[str, str]:
    up = "Layers go upwards from the embedding, positions from left to right"
    tokens = f"{up}, with the prompt's tokens."
    logarithmic = "The scale is logarithmic." if result.shown.logarithmic else ""
    position = result.prompts.position_name(result.main_position)
    known = result.discoveries.is_known
    return {
        "dashboard": joined(
            "The probability that the lens gives to the answer (correct) and to the distractor (incorrect) of one "
            f"prompt, clean and corrupted. {tokens}", SHARES, logarithmic,
        ),
        "by_layer": joined(
            f"Means over prompts at {position}, after each layer: logit difference, probabilities, and the rank of the "
            f"answer. {_CLEAN_CORRUPTED}; dashed lines are the distractor.", bands(context.over),
        ),
        "top_tokens": joined(
            f"The likeliest next token by the lens, at each layer and position of one clean prompt. {tokens}",
            "The lighter the cell, the more probable the token.",
        ),
        "logit_diff_by_position": joined(
            f"The mean logit difference that the lens reads. {up}, with labelled tokens. Blue prefers the answer, red "
            "the distractor; the embedding's own values may lie beyond the colours' range.",
            pale(context.over) if known else "",
        ),
        "held_out_kl": (
            "The KL divergence of each lens's next-token distribution from the model's own on held-out text, "
            "after each layer: the lower, the closer. Bands are 95 % intervals over pieces of text."
        ),
        "training": (
            "The KL divergence on the text for stopping during the training: the translators at its lowest point are "
            "kept."
        ),
    }  # fmt: skip


def _limits(result: LogitLensResult, *, is_tuned: bool) -> list[str]:
    limits = [
        "A lens shows what can be read from the residual stream, not what later layers use.",
        "The maps of single tokens are of one prompt; the means are over all.",
    ]
    if not is_tuned:
        limits.append(
            "The logit lens takes early layers for the last one: that it reads nothing there does not show that "
            "nothing is there."
        )
    if result.training is not None and not result.training.has_converged:
        limits.append("The training of the lens ended before it had converged.")
    return limits
