"""The figures of one direction of transferring steering vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ioi_lab.interventions.transfer.vector_result import VectorRows, VectorTransferResult
from ioi_lab.interventions.transfer.vector_summary import uncertainty
from ioi_lab.reports import plots
from ioi_lab.reports.captions import DIVERGING, pale
from ioi_lab.reports.wording import NOT_FOUND, interval, number, plain
from ioi_lab.stats.bootstrap import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.reports.report import ReportContext


class VectorFigures:
    """Draws a result; `through` is the route, for titles."""

    def __init__(self, result: VectorTransferResult, through: str, context: ReportContext) -> None:
        self._result = result
        contrast = " against ".join(result.names) if result.contrast == "name_pair" else plain(result.contrast)
        self._what = f"{plain(result.method)}, {contrast}\n{through}"
        self._data = f"{context.task}, {result.n_prompts} held-out prompts{context.precision_note}"
        from_layer, to_layer = result.best
        self._title = (
            f"Steering {result.target} with a vector of {result.source}\n"
            f"{result.component} {from_layer} → {to_layer} at {result.position}, {self._what}\n{self._data}"
        )

    def all(self) -> dict[str, Figure]:
        """Return all figures by name."""
        return {
            "effect_by_scale": self._curves(),
            "slopes_and_controls": self._controls(),
            "slopes_by_layers": self._by_layers(),
        }

    @property
    def _null_note(self) -> str:
        return "" if self._result.slopes.comes_over else "\nno transfer has been shown"

    def _curves(self) -> Figure:
        result = self._result
        axis = plots.Axis("scale (vector norms)", [number(scale) for scale in result.scales], result.scales)
        panels = [
            plots.LinePanel("logit difference", self._lines("logit_diff", is_logit_diff=True), zero=True),
            plots.LinePanel("share of prompts that flip", self._lines("flipped", is_logit_diff=False)),
        ]
        bands = "95 % intervals over held-out prompts; of random controls, where a further one would lie"
        return plots.line_panels(axis, panels, self._title + self._null_note, bands)

    def _lines(self, metric: str, *, is_logit_diff: bool) -> list[plots.Line]:
        """Return the lines of the native vector, of the carried one at both norms, and of the controls."""
        result = self._result
        vectors = (result.native, result.carried, result.at_native_norm)
        lines = [_line(rows, metric, colour) for rows, colour in zip(vectors, plots.shades(3), strict=True)]
        if is_logit_diff:
            drawn = result.drawn
            kind = f"{drawn.count} {drawn.noun}"
            lines.append(plots.Line(kind, drawn.logit_diff, *drawn.band, plots.NEUTRAL))
        if is_logit_diff and result.mean_shift is not None:
            shift, unknown = result.mean_shift.estimates[metric].value, np.full(len(result.scales), np.nan)
            lines.append(plots.Line("mean shift", shift, unknown, unknown, plots.NEGATIVE, dashed=True))
        return lines

    def _controls(self) -> Figure:
        """Draw the slopes of the carried vector, at both norms, next to the native one's and to those of controls."""
        result, slopes = self._result, self._result.slopes
        is_null = not slopes.comes_over
        marked = [
            marked_slope(f"carried{self._share(slopes.share)}", slopes.carried, is_pale=is_null),
            marked_slope(
                f"carried at native norm{self._share(slopes.share_at_native_norm)}",
                slopes.at_native_norm,
                is_pale=is_null,
            ),
            marked_slope("native", slopes.native, is_pale=not slopes.native_steers),
            marked_slope(
                "native at carried norm",
                slopes.native_at_carried_norm,
                is_pale=not slopes.native_at_carried_norm.exceeds()[0],
            ),
        ]
        samples = [plots.Samples(f"{result.drawn.count} {result.drawn.noun}", slopes.drawn)]
        if slopes.mean_shift is not None:
            samples.append(plots.Samples("mean shift", np.array([slopes.mean_shift])))
        samples += [
            plots.Samples(f"{len(kind.names)} {kind.noun}", kind.mean_slopes, kind.quantile)
            for kind in slopes.unrelated
        ]
        mismatched = slopes.mismatched
        samples += [
            plots.Samples(f"another concept:\n{plain(name)}", mismatched.slope.value[row : row + 1])
            for row, name in enumerate(mismatched.names)
        ]
        notes = ["controls have the carried vector's norm; red: the largest one, or the 97.5 % quantile"]
        notes += [uncertainty(result)] if slopes.carried.has_bounds else []
        notes += ["pale: not shown to exceed every kind of control"] if is_null else []
        return plots.spreads(
            marked, samples, "slope of the logit difference per unit of scale", self._title + self._null_note, notes
        )

    def _share(self, share: Estimate) -> str:
        if not self._result.slopes.native_steers:
            return ""
        return f"\n{interval(share, form='.0f', factor=100)} % of native"

    def _by_layers(self) -> Figure:
        """Draw the slopes of the carried vectors by both layers, and of the native ones on top."""
        result, by_layers = self._result, self._result.by_layers
        rows = plots.Axis(f"layer of {result.source}", [*map(str, by_layers.source_layers), "native"])
        columns = plots.Axis(f"layer of {result.target}", [str(layer) for layer in by_layers.layers])
        pale = None
        if by_layers.carried_not_found is not None and by_layers.native_not_found is not None:
            pale = np.concatenate([by_layers.carried_not_found, by_layers.native_not_found[None]])
        notes = f"compared with controls: {result.best[0]} → {result.best[1]}"
        if result.slopes.comes_over:
            notes += " (outlined)"
        if pale is not None and pale.any():
            notes += f"; pale, without number: {NOT_FOUND}, over held-out prompts"
        return plots.heat_maps(
            {"": np.concatenate([by_layers.carried, by_layers.native[None]])},
            rows,
            columns,
            f"Steering {result.target} with vectors of {result.source}\n{result.component} at {result.position}, "
            f"{self._what}\n{self._data}\n{notes}",
            "slope of the logit difference\nper unit of scale (vector norms)",
            upward=True,
            pale=None if pale is None else {"": pale},
            outlined=[self._best_cell()] if result.slopes.comes_over else [],
        )

    def _best_cell(self) -> tuple[int, int]:
        by_layers, (from_layer, to_layer) = self._result.by_layers, self._result.best
        return by_layers.source_layers.index(from_layer), by_layers.layers.index(to_layer)


def captions_of(result: VectorTransferResult) -> dict[str, str]:
    """Return how to read each figure."""
    return {
        "effect_by_scale": (
            "Left, the mean logit difference along the scale; right, the share of prompts that flip: of the "
            f"vector that {result.target} has itself (native), of the carried one at its own norm and at the "
            "native one's, and of controls. The native and the carried lines lie on each other if the transfer "
            "is perfect. Bands are 95 % intervals over held-out prompts; of random controls, where a further one "
            "would lie."
        ),
        "slopes_and_controls": (
            "The slope of the logit difference per unit of scale: blue points are the vectors with their 95 % "
            "intervals, grey points are controls of the carried vector's norm. An effect transfers if the carried "
            "vector lies to the right of every red mark; pale points do not clearly. If the native vector at this "
            "norm does not lie to the right of a mark either, that control does not show whether anything comes over."
        ),
        "slopes_by_layers": (
            f"Each cell is the slope of a vector from one layer of {result.source} (rows) in one layer of "
            f"{result.target} (columns); the top row has the native vectors. {DIVERGING} {pale('prompts')} The "
            "pair that is compared with controls has an outline if its effect transfers."
        ),
    }


def _line(rows: VectorRows, metric: str, colour: str) -> plots.Line:
    estimate = rows.estimates[metric]
    return plots.Line(rows.name, estimate.value, estimate.low, estimate.high, colour)


def marked_slope(name: str, estimate: Estimate, *, is_pale: bool) -> plots.Marked:
    """Return a slope with its interval as a point of a figure."""
    value, low, high = (float(part[0]) for part in (estimate.value, estimate.low, estimate.high))
    return plots.Marked(name, value, low, high, is_pale)
