"""The report of one direction of transferring steering vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ioi_lab.interventions.transfer.vector_measure import StrongestScale, VectorRows, VectorTransferResult
from ioi_lab.reports import plots
from ioi_lab.reports.report import scalars, tidy_table
from ioi_lab.reports.wording import interval, number, plain
from ioi_lab.stats.bootstrap import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ioi_lab.reports.report import ReportContext


class VectorTransferReport:
    """The table, scalars, figures and sentences of one direction; `through` is the route in figure titles."""

    def __init__(self, result: VectorTransferResult, through: str, context: ReportContext) -> None:
        self._result = result
        contrast = plain(result.contrast)
        if result.contrast == "name_pair":
            contrast = " against ".join(result.names)
        self._what = f"{plain(result.method)}, {contrast}\n{through}"
        self._data = f"{context.task}, {result.n_prompts} held-out prompts{context.precision_note}"

    # Table and scalars

    def table(self) -> pd.DataFrame:
        """Return a row per vector and scale: native ones by layer, carried ones by pair of layers, and controls."""
        result = self._result
        selectors: list[dict[str, Any]] = [
            {
                "component": result.component,
                "layer": rows.layer,
                "position": result.position,
                "scale": scale,
                "direction": result.name,
                "vector": rows.name,
                "source_layer": rows.source_layer,
                "added_norm": abs(scale) * rows.norm,
            }
            for rows in result.rows
            for scale in result.scales
        ]
        names = result.rows[0].estimates
        joined = {name: Estimate.joined([rows.estimates[name] for rows in result.rows]) for name in names}
        return tidy_table(selectors, joined).astype({"source_layer": "Int64"})

    def metrics(self) -> dict[str, float]:
        """Return the scalars of the best pair of layers, and of the controls there."""
        result, (from_layer, to_layer) = self._result, self._result.best
        metrics: dict[str, float] = {
            "n_prompts": result.n_prompts,
            "n_training_prompts": result.n_training_prompts,
            "n_dropped_prompts": result.n_dropped_prompts,
            "source_layer": from_layer,
            "layer": to_layer,
            "n_controls": result.n_controls,
            "beats_controls": int(result.beats_controls),
            "native_steers": int(result.native_steers),
            "linear_from": result.linear_scales[0],
            "linear_to": result.linear_scales[1],
            "cosine_to_native": result.cosine_to_native,
            "norm": result.norm,
            "native_norm": result.native_norm,
            "steepest_control_slope": result.steepest_control_slope,
        }
        metrics |= scalars("native_slope", result.native_slope)
        metrics |= scalars("slope", result.slope)
        metrics |= scalars("share_of_native", result.share_of_native)
        metrics |= scalars("margin_over_steepest_control", result.margin_over_steepest_control)
        metrics |= self._strongest("native", result.native_strongest)
        metrics |= self._strongest("carried", result.carried_strongest)
        metrics["control_flipped_highest"] = result.control_flipped_highest
        metrics["band_low_logit_diff"], metrics["band_high_logit_diff"] = result.band_at_strongest
        if result.map_r2 is not None:
            metrics["map_r2"] = result.map_r2
        if result.shared_tokens is not None:
            metrics["n_shared_tokens"] = result.shared_tokens.n_tokens
            metrics["shared_mass"] = result.shared_tokens.mass
        return metrics

    def _strongest(self, prefix: str, strongest: StrongestScale) -> dict[str, float]:
        return {
            f"{prefix}_strongest_scale": strongest.scale,
            **scalars(f"{prefix}_flipped", strongest.flipped),
            **scalars(f"{prefix}_logit_diff", strongest.logit_diff),
        }

    # Lines for the terminal

    def summary(self) -> list[str]:
        """Return lines about the best pair of layers, its controls, and the verdict."""
        result, (from_layer, to_layer) = self._result, self._result.best
        share = f": {interval(result.share_of_native, form='.0f', factor=100)} % of it" if result.native_steers else ""
        native, carried = result.native_strongest, result.carried_strongest
        has_line = np.isfinite(result.native_slope.value[0])
        native_slope = interval(result.native_slope) if has_line else "no linear range"
        lines = [
            f"{result.name}, layer {from_layer} → {to_layer} (chosen on {result.n_training_prompts} training "
            f"prompts), {self._quality()}, cosine with the native vector {result.cosine_to_native:.2f}:",
            f"  slope per unit of scale on {result.n_prompts} held-out prompts: native "
            f"{native_slope}, carried {interval(result.slope)}{share}",
            f"  steepest of {result.n_controls} controls {result.steepest_control_slope:.2f}; the carried vector is "
            f"steeper by {interval(result.margin_over_steepest_control)}",
            f"  flipped: {interval(native.flipped)} by the native vector at scale {native.scale:g}; "
            f"{interval(carried.flipped)} by the carried one at {carried.scale:g}, where a control flips at most "
            f"{result.control_flipped_highest:.2f}",
        ]
        if not has_line:
            lines.append(f"  the response to {result.target}'s own vector has no linear range: there is no share of it")
        elif not result.native_steers:
            lines.append(
                f"  {result.target}'s own vector does not steer it at any layer: there is no native effect to have a "
                "share of"
            )
        if result.beats_controls:
            lines.append("  the carried vector does more than every control: its effect transfers")
        else:
            lines.append("  the carried vector does no more than its controls: no transfer has been shown")
        return lines

    def _quality(self) -> str:
        result = self._result
        if result.shared_tokens is not None:
            shared = result.shared_tokens
            return f"{shared.n_tokens:,} shared tokens carry {shared.mass:.0%} of the vector's logits"
        return f"R² of the map {result.map_r2:.2f}"

    # Figures

    def figures(self) -> dict[str, Figure]:
        """Return the effect by scale at the best pair, and the slopes by pair of layers."""
        return {"effect_by_scale": self._curves(), "slopes_by_layers": self._map()}

    def _curves(self) -> Figure:
        result, (from_layer, to_layer) = self._result, self._result.best
        axis = plots.Axis("scale (vector norms)", [number(scale) for scale in result.scales], result.scales)
        panels = [
            plots.LinePanel("logit difference", self._lines("logit_diff", with_band=True), zero=True),
            plots.LinePanel("share of prompts that flip", self._lines("flipped", with_band=False)),
        ]
        title = (
            f"Steering {result.target} with a vector of {result.source}\n"
            f"{result.component} {from_layer} → {to_layer} at {result.position}, {self._what}\n{self._data}"
        )
        return plots.line_panels(
            axis, panels, title, "95 % intervals over prompts; of controls, where a further one would lie"
        )

    def _lines(self, metric: str, *, with_band: bool) -> list[plots.Line]:
        """Return the lines of the native vector, of the carried one and of the controls."""
        result, colours = self._result, plots.shades(3)
        lines = [
            _line(rows, metric, colour)
            for rows, colour in zip((result.native, result.carried), colours[:2], strict=True)
        ]
        if with_band:
            kind = f"{result.n_drawn_controls} {result.control_noun}"
            lines.append(plots.Line(kind, result.drawn_logit_diff, *result.band, plots.NEUTRAL))
        if result.mean_shift is not None:
            shift, unknown = result.mean_shift.estimates[metric].value, np.full(len(result.scales), np.nan)
            lines.append(plots.Line("mean shift", shift, unknown, unknown, plots.NEGATIVE, dashed=True))
        return lines

    def _map(self) -> Figure:
        """Draw the slopes of the carried vectors by both layers, and of the native ones on top."""
        result = self._result
        rows = plots.Axis(f"layer of {result.source}", [*map(str, result.source_layers), "native"])
        columns = plots.Axis(f"layer of {result.target}", [str(layer) for layer in result.layers])
        title = (
            f"Steering {result.target} with vectors of {result.source}\n{result.component} at {result.position}, "
            f"{self._what}\n{self._data}; outlined: chosen on training prompts"
        )
        return plots.heat_maps(
            {"": np.concatenate([result.carried_slopes, result.native_slopes[None]])},
            rows,
            columns,
            title,
            "slope of the logit difference\nper unit of scale (vector norms)",
            upward=True,
            outlined=[(result.source_layers.index(result.best[0]), result.layers.index(result.best[1]))],
        )


def _line(rows: VectorRows, metric: str, colour: str) -> plots.Line:
    estimate = rows.estimates[metric]
    return plots.Line(rows.name, estimate.value, estimate.low, estimate.high, colour)
