"""The figures of attention patterns: the map of all heads, the patterns of one prompt, attention against effect."""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.interventions.attention.measure import AttentionResult, Head
    from ioi_lab.interventions.attention.ranked_heads import RankedHeads
    from ioi_lab.reports.report import ReportContext
    from ioi_lab.tasks.prompts import Position

MAX_NUMBERS: Final = 625
"""The number of cells above which numbers in a map would be too small to read."""

MIN_NUMBER: Final = 0.005
"""The weight below which a cell of a pattern has no number, which would be 0.00."""


def attention_figures(result: AttentionResult, context: ReportContext) -> dict[str, Figure]:
    """Return the figures, by file name."""
    figures = {map_name(result): _map(result, context)}
    for layer in result.pages:
        figures[page_name(layer)] = _layer_page(result, context, layer)
    for head in result.drawn:
        figures[pattern_name(head)] = _one_head(result, context, head)
    if result.comparison is not None:
        figures["attention_against_effect"] = _against_effect(result, context, result.comparison.ranked)
    return figures


def map_name(result: AttentionResult) -> str:
    """Return the name of the map of all heads."""
    return f"attention_to_{_file_name(result.keys[0])}"


def page_name(layer: int) -> str:
    """Return the name of the figure with all heads of a layer."""
    return f"patterns_layer_{layer:02d}"


def pattern_name(head: Head) -> str:
    """Return the name of the figure with the pattern of one head."""
    return f"pattern_{head[0]}_{head[1]}"


def shown_title(result: AttentionResult, context: ReportContext) -> str:
    """Return the model and the prompt whose patterns are drawn, in two lines."""
    return f"{context.model}\n{result.which} prompt {result.shown.text!r}"


def _map(result: AttentionResult, context: ReportContext) -> Figure:
    """Draw the mean attention to the first key, layer × head."""
    means = result.means
    layers, heads = (plots.Axis.numbered(*axis) for axis in zip(("layer", "head"), means.shape, strict=True))
    texts = [[f"{value:.2f}" for value in row] for row in means] if means.size <= MAX_NUMBERS else None
    title = f"{_what(result)}\n{context.data_title(len(result.prompts))}"
    panel = plots.Panel("", means, layers, heads, texts)
    return plots.share_maps([panel], title, "attention weight, mean over prompts")


def _layer_page(result: AttentionResult, context: ReportContext, layer: int) -> Figure:
    queries, keys = _token_axes(result)
    patterns = result.shown.patterns[layer]
    panels = [plots.Panel(f"{layer}.{head}", pattern, queries, keys) for head, pattern in enumerate(patterns)]
    title = f"Attention patterns of layer {layer}, {shown_title(result, context)}"
    return plots.share_maps(panels, title, "attention weight", per_row=_columns(len(panels)), cell=(0.17, 0.17))


def _one_head(result: AttentionResult, context: ReportContext, head: Head) -> Figure:
    pattern = result.shown.patterns[head]
    queries, keys = _token_axes(result)
    texts = [[f"{value:.2f}" if value >= MIN_NUMBER else "" for value in row] for row in pattern]
    panel = plots.Panel("", pattern, queries, keys, texts if pattern.size <= MAX_NUMBERS else None)
    title = f"Attention pattern of head {head_name(head)}, {shown_title(result, context)}"
    return plots.share_maps([panel], title, "attention weight", cell=(0.34, 0.26))


def _against_effect(result: AttentionResult, context: ReportContext, ranked: RankedHeads) -> Figure:
    measured = sorted(ranked.effects)
    return plots.scatter(
        np.array([result.means[head] for head in measured]),
        np.array([ranked.effects[head] for head in measured]),
        [head_name(head) for head in measured],
        x_label=f"attention from {result.query} to {result.keys[0]}",
        y_label="effect of patching the head\n(share of the logit difference)",
        title=f"{_what(result)}\nagainst {ranked.title}\n{context.data_title(len(result.prompts))}",
    )


def _what(result: AttentionResult) -> str:
    return f"Attention from {result.query} to {result.keys[0]}, {result.which} prompts"


def _token_axes(result: AttentionResult) -> tuple[plots.Axis, plots.Axis]:
    tokens = [plots.visible(token) for token in result.shown.tokens]
    return plots.Axis("query", tokens), plots.Axis("key", tokens)


def _columns(n_panels: int) -> int:
    """Return the number of panels per row: a few stand in one row, more in a square."""
    return n_panels if n_panels <= 4 else ceil(sqrt(n_panels))


def _file_name(position: Position) -> str:
    return str(position).replace("+", "_plus_").replace("-", "minus_")
