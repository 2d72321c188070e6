"""The parts of an alignment's report on stitched models and on the training of maps: lines, figures and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.alignment.measure import AlignmentDirection, AlignmentResult
from ioi_lab.reports import plots
from ioi_lab.storage.tables import csv_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.alignment.training import LossCurve

LOSS_LABELS: Final = {
    "stitching": "KL from the model's own distribution (nats)",
    "activations": "mean squared error (variances of y)",
}
_SERIES: Final = (
    ("KL from its own\ndistribution (nats)", (("stitched_kl", "mapped"), ("mean_ablated_kl", "mean ablation"))),
    (
        "same likeliest\nnext token (share)",
        (("stitched_agreement", "mapped"), ("mean_ablated_agreement", "mean ablation")),
    ),
    (
        "next-token loss (nats)",
        (("stitched_loss", "mapped"), ("mean_ablated_loss", "mean ablation"), ("own_loss", "its own")),
    ),
)


def stitched_line(direction: AlignmentDirection, row: int) -> str:
    """Return the line on the stitched model of one pair of layers."""
    at = {name: each.value[row] for name, each in direction.estimates.items()}
    return (
        f"            stitched: KL {at['stitched_kl']:.3f} (mean ablation {at['mean_ablated_kl']:.3f}), same next "
        f"token {at['stitched_agreement']:.2f} ({at['mean_ablated_agreement']:.2f}), loss {at['stitched_loss']:.3f} "
        f"(own {at['own_loss']:.3f}, mean ablation {at['mean_ablated_loss']:.3f})"
    )


def stitched_figures(result: AlignmentResult, note: str) -> dict[str, Figure]:
    """Return the figures of stitched models, one per direction; none if they were not measured."""
    if result.n_stitched_texts == 0:
        return {}
    return {f"stitched_{name}": _stitched(result, each, note) for name, each in result.directions.items()}


def training_figures(result: AlignmentResult, note: str) -> dict[str, Figure]:
    """Return the figures of the losses during the training of maps, one per direction; none without training."""
    if result.training is None:
        return {}
    return {f"training_{name}": _training(result, each, note) for name, each in result.directions.items()}


def training_file(result: AlignmentResult) -> dict[str, bytes]:
    """Return `training.csv`, with a row per map and evaluation; nothing without training."""
    import pandas as pd

    rows = [
        {"direction": direction.name, "source_layer": pair[0], "layer": pair[1]} | row
        for direction in result.directions.values()
        for pair, curve in zip(direction.pairs, direction.curves, strict=True)
        if curve is not None
        for row in curve.rows
    ]
    return {"training.csv": csv_bytes(pd.DataFrame(rows))} if rows else {}


def training_lines(result: AlignmentResult) -> list[str]:
    """Return the lines of the summary on maps whose training did not end by itself, or did not improve on its start."""
    curves = [curve for direction in result.directions.values() for curve in direction.curves if curve is not None]
    unfinished = sum(not curve.has_converged for curve in curves)
    unchanged = sum(curve.kept == 0 for curve in curves)
    lines = []
    if unfinished:
        lines.append(
            f"note: {unfinished} of {len(curves)} trainings ended at alignment.steps={max(_last(c) for c in curves)} "
            "before their loss had stopped falling"
        )
    if unchanged:
        lines.append(f"note: {unchanged} of {len(curves)} trainings did not improve on their start, which is kept")
    return lines


def _last(curve: LossCurve) -> int:
    return int(curve.steps[-1])


def _stitched(result: AlignmentResult, direction: AlignmentDirection, note: str) -> Figure:
    """Draw the behaviour of the stitched model by pair of layers, for the rows that controls are drawn of."""
    rows = direction.drawn_rows
    colours = plots.shades(3)
    panels = [
        plots.LinePanel(
            label,
            [
                plots.Line(name, each.value[rows], each.low[rows], each.high[rows], colour, dashed=name != "mapped")
                for (metric, name), colour in zip(series, colours, strict=False)
                for each in (direction.estimates[metric],)
            ],
        )
        for label, series in _SERIES
    ]
    ticks = [f"{direction.pairs[row][0]} → {direction.pairs[row][1]}" for row in rows]
    title = (
        f"{direction.target} with mapped {result.component} of {direction.source} ({result.map_title})\n"
        f"{result.corpus}, {result.n_stitched_texts} held-out texts{note}"
    )
    return plots.line_panels(plots.Axis("layers", ticks), panels, title, "95 % intervals over texts")


def _training(result: AlignmentResult, direction: AlignmentDirection, note: str) -> Figure:
    """Draw the losses of each map on the texts that are trained on and on those that show when to stop."""
    curves = [(pair, curve) for pair, curve in zip(direction.pairs, direction.curves, strict=True) if curve is not None]
    steps = np.unique(np.concatenate([curve.steps for _, curve in curves]))
    colours = plots.shades(len(curves))
    panels = []
    for name, dashed in (("stopping", False), ("training", True)):
        lines = []
        for ((x_layer, y_layer), curve), colour in zip(curves, colours, strict=True):
            values = np.full(len(steps), np.nan)
            values[np.searchsorted(steps, curve.steps)] = getattr(curve, name)
            unknown = np.full(len(steps), np.nan)
            lines.append(plots.Line(f"{x_layer} → {y_layer}", values, unknown, unknown, colour, dashed))
        texts = "texts that show when to stop" if name == "stopping" else "texts that are trained on"
        panels.append(plots.LinePanel(f"{LOSS_LABELS[str(result.training)]}\n{texts}", lines, logarithmic=True))
    axis = plots.Axis("step", [str(step) for step in steps], places=steps.astype(float).tolist())
    title = f"Training of the {result.map_title}, {result.component}\n{direction.name}, {result.corpus}{note}"
    return plots.line_panels(axis, panels, title, "")
