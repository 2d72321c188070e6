"""The report of an alignment: a table, scalars, figures and lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float

from ioi_lab.alignment.behaviour_report import (
    stitched_figures,
    stitched_line,
    training_figures,
    training_file,
    training_lines,
)
from ioi_lab.alignment.layer_pairs import RULES
from ioi_lab.alignment.measure import AlignmentDirection, AlignmentResult
from ioi_lab.alignment.texts import with_texts
from ioi_lab.reports import plots
from ioi_lab.reports.charts import Curves
from ioi_lab.reports.report import Report, precision_lines, precision_note, scalars, tidy_table
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MIN_SHOWN_R2: Final = -1.0
SUMMARY_PAIRS: Final = 3
SIMILARITY_COLUMNS: Final = {
    "debiased": "cka_debiased",
    "low": "cka_debiased_low",
    "high": "cka_debiased_high",
    "null_high": "cka_debiased_null_high",
    "p_value": "cka_debiased_p",
    "plain": "cka_of_sample",
    "plain_by_chance": "cka_of_sample_by_chance",
}
CONTROLS: Final = {"mean_shift": "mean shift", "shuffled": "shuffled pairs"}


def alignment_report(result: AlignmentResult, maps_file: bytes, low_precision: Sequence[str] = ()) -> Report:
    """Return the report.

    Every number but CKA is measured on held-out texts; the intervals are over these texts.

    Args:
        result: The result.
        maps_file: The file of the maps.
        low_precision: The models whose precision is low, with the reason.

    """
    note = precision_note(low_precision)
    report = Report(
        table=_table(result),
        metrics=_metrics(result),
        draw=lambda: {
            "r2_by_layers": _maps_of_r2(result, note),
            "controls_forward": _control_lines(result, result.forward, note),
            "controls_backward": _control_lines(result, result.backward, note),
            **stitched_figures(result, note),
            **training_figures(result, note),
        },
        summary=precision_lines(low_precision) + _summary(result),
        files={"maps.safetensors": maps_file, **training_file(result)},
        headline="forward_best_r2",
        charts=[Curves("r2_by_layer", "layer", "r2", ("source_layer", "direction"))],
    )
    return with_texts(report, result, low_precision)


def _table(result: AlignmentResult) -> pd.DataFrame:
    directions = list(result.directions.values())
    rows: list[dict[str, Any]] = [
        {"component": result.component, "layer": to_layer, "source_layer": from_layer, "direction": direction.name}
        | {"method": result.method, "penalty": direction.penalties[row], "cka": direction.cka[row]}
        | {column: direction.similarities[name][row] for name, column in SIMILARITY_COLUMNS.items()}
        for direction in directions
        for row, (from_layer, to_layer) in enumerate(direction.pairs)
    ]
    estimates = {
        name: Estimate.joined([direction.estimates[name] for direction in directions])
        for name in result.forward.estimates
    }
    return tidy_table(rows, estimates)


def _metrics(result: AlignmentResult) -> dict[str, float]:
    metrics: dict[str, float] = {
        "n_texts": result.n_texts,
        "n_held_out_texts": result.n_held_out_texts,
        "n_positions": result.n_positions,
        "n_held_out_positions": result.n_held_out,
        "n_maps": result.n_maps,
        "n_parameters": result.n_parameters,
        "n_stitched_texts": result.n_stitched_texts,
    }
    if result.replaced_shares is not None:
        metrics |= dict(zip(("forward_replaced_share", "backward_replaced_share"), result.replaced_shares, strict=True))
    for prefix, direction in result.directions.items():
        from_layer, to_layer = direction.pairs[direction.best]
        metrics |= {f"{prefix}_best_source_layer": from_layer, f"{prefix}_best_layer": to_layer}
        metrics[f"{prefix}_mean_r2"] = direction.mean_r2
        metrics[f"{prefix}_highest_r2_shuffled"] = direction.highest_r2_shuffled
        for name, estimate in direction.estimates.items():
            metrics |= scalars(f"{prefix}_best_{name}", estimate, direction.best)
        metrics[f"{prefix}_best_cka"] = float(direction.cka[direction.best])
        for name, column in SIMILARITY_COLUMNS.items():
            if np.isfinite(value := direction.similarities[name][direction.best]):
                metrics[f"{prefix}_best_{column}"] = float(value)
    return metrics


# Lines for the terminal


def _summary(result: AlignmentResult) -> list[str]:
    lines = [
        f"{result.corpus}: fitted on {result.n_positions:,} shared positions of {result.n_texts:,} texts, tried on "
        f"{result.n_held_out:,} positions of {result.n_held_out_texts:,} other texts"
    ]
    if result.is_underdetermined:
        lines.append(
            f"warning: {result.n_positions:,} positions are few for maps with {result.n_parameters:,} parameters: "
            f"{result.positions_per_dimension:.1f} per dimension; read the held-out R², and prefer a larger corpus or "
            "alignment=lowrank"
        )
    if result.layer_rule != "all":
        lines.append(f"pairs of layers: {RULES[result.layer_rule]} (alignment.layers={result.layer_rule})")
    for direction in result.directions.values():
        lines += _best_lines(result, direction)
    lines += training_lines(result)
    if result.is_one_model:
        lines.append(identity_note(result.largest_distance_from_identity))
    return lines


def identity_note(largest_distance: float | None) -> str:
    """Return the note on maps from a model to itself.

    Args:
        largest_distance: The largest distance from the identity, in norms of the identity, of the maps between equal
            layers; None without such maps.

    """
    found = "" if largest_distance is None else f"; they differ from it by at most {largest_distance:.2g} of its norm"
    return f"note: source and target are the same model: maps between equal layers should be near the identity{found}"


def _best_lines(result: AlignmentResult, direction: AlignmentDirection) -> list[str]:
    estimates, r2 = direction.estimates, direction.estimates["r2"]
    lines = [f"{direction.name}, held-out R² of the {result.map_title} by layers (of {len(direction.pairs)} pairs):"]
    for row in direction.ranking[:SUMMARY_PAIRS]:
        from_layer, to_layer = direction.pairs[row]
        bounds = f"[{r2.low[row]:.3f}, {r2.high[row]:.3f}]" if np.isfinite(r2.low[row]) else ""
        rest = ", ".join(
            f"{label} {estimates[metric].value[row]:.2f}"
            for metric, label in (
                ("cosine", "cosine"),
                ("error_to_mean", "error / the mean's"),
                ("error_to_shuffled", "error / shuffled pairs'"),
            )
        )
        pair = f"{from_layer} → {to_layer}"
        debiased = direction.similarities["debiased"][row]
        similar = f"CKA {direction.cka[row]:.2f}" + (f", debiased {debiased:.2f}" if np.isfinite(debiased) else "")
        lines.append(f"  {pair:<9} {r2.value[row]:6.3f} {bounds}  {rest}, {similar}")
        if result.n_stitched_texts:
            lines.append(stitched_line(direction, row))
    return lines


# Figures


def _maps_of_r2(result: AlignmentResult, note: str) -> Figure:
    """Draw R² in both directions and CKA on the same axes: the source's layers upwards, the target's to the right."""
    forward, backward = result.forward, result.backward
    source, target = (
        plots.Axis(f"layer of {name}", [str(layer) for layer in layers])
        for name, layers in zip((forward.source, forward.target), result.layers, strict=True)
    )
    panels = {
        f"R², {forward.name}": _cells(result, forward, forward.estimates["r2"].value),
        f"R², {backward.name}": _cells(result, backward, backward.estimates["r2"].value),
        "linear CKA": _cells(result, forward, forward.cka),
        "debiased CKA": _cells(result, forward, forward.similarities["debiased"]),
    }
    title = (
        f"Aligning {result.component}, {result.map_title}: held-out R² of each pair of layers\n"
        f"{result.corpus}: {result.n_positions:,} positions fitted, {result.n_held_out:,} of "
        f"{result.n_held_out_texts:,} other texts tried{note}"
    )
    label = "R², or CKA (0 = nothing shared, 1 = all)"
    return plots.heat_maps(panels, source, target, title, label, limit=1.0, upward=True)


def _cells(
    result: AlignmentResult, direction: AlignmentDirection, values: Float[Array, "pair"]
) -> Float[Array, "source_layer target_layer"]:
    """Return the values of pairs of layers as a map; NaN for pairs without a map."""
    cells = np.full([len(layers) for layers in result.layers], np.nan)
    for pair, value in zip(direction.pairs, values, strict=True):
        source, target = pair if direction is result.forward else pair[::-1]
        cells[result.layers[0].index(source), result.layers[1].index(target)] = value
    return cells


def _control_lines(result: AlignmentResult, direction: AlignmentDirection, note: str) -> Figure:
    """Draw R² by the layer that is mapped to: of the maps from the best layer, and of their controls.

    If a rule has chosen the pairs of layers, all of them are drawn.
    """
    rows = direction.drawn_rows
    from_layer, _ = direction.pairs[direction.best]
    colours = plots.shades(3)
    lines = [_line(direction, "r2", result.map_title, colours[0])]
    lines += [
        _line(direction, f"r2_{control}", label, colour)
        for (control, label), colour in zip(CONTROLS.items(), colours[1:], strict=True)
        if control != result.method
    ]
    if result.layer_rule == "all":
        ticks = [str(direction.pairs[row][1]) for row in rows]
        axis, which = plots.Axis(f"layer of {direction.target} that is mapped to", ticks), f"from layer {from_layer}"
    else:
        ticks = [f"{pair[0]} → {pair[1]}" for pair in direction.pairs]
        axis, which = plots.Axis("layers", ticks), f"alignment.layers={result.layer_rule}"
    title = (
        f"Aligning {result.component}: the map and its controls\n{direction.name}, {which}\n"
        f"{result.corpus}, {result.n_positions:,} positions fitted\n"
        f"{result.n_held_out:,} of {result.n_held_out_texts:,} other texts tried{note}"
    )
    cut = any((line.values < MIN_SHOWN_R2).any() for line in lines)
    label = "held-out R² (0: as good as the mean" + (";\ncut off below −1)" if cut else ")")
    panel = plots.LinePanel(label, lines, zero=True, floor=MIN_SHOWN_R2 if cut else None)
    return plots.line_panels(axis, [panel], title, "95 % intervals over texts")


def _line(direction: AlignmentDirection, metric: str, label: str, colour: str) -> plots.Line:
    estimate, rows = direction.estimates[metric], direction.drawn_rows
    return plots.Line(label, estimate.value[rows], estimate.low[rows], estimate.high[rows], colour)
