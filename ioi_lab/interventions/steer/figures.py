"""The figures of a steering run: responses to the scale, maps of sites, and effects on ordinary text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.interventions.steer.labels import Labels
from ioi_lab.interventions.steer.measure import SteerResult
from ioi_lab.interventions.steer.text_effects import TextEffects
from ioi_lab.reports import plots
from ioi_lab.reports.report import ReportContext
from ioi_lab.reports.wording import NOT_FOUND, intervals_over, number
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_LINES: Final = 6
"""The number of sites whose curves a figure shows, the steepest."""

OUTLINED: Final = 3
"""The greatest number of outlined heads in a map, the steepest."""


class SteeringFigures:
    """The figures of one result, over the scales in ascending order."""

    def __init__(self, result: SteerResult, context: ReportContext) -> None:
        self._result = result
        self._context = context
        self._labels = Labels(result, context)
        self._order = np.argsort(result.scales)
        scales = [result.scales[index] for index in self._order]
        self._axis = plots.Axis(f"scale ({self._labels.unit})", [number(scale) for scale in scales], scales)
        sites = [step.site for step in result.steps]
        self._layers = list(dict.fromkeys(site.layer for site in sites))
        self._heads = list(dict.fromkeys(site.head for site in sites))

    def all(self) -> dict[str, Figure]:
        """Return the figures that suit the steered sites, by file name."""
        result, count = self._result, len(self._result.steps)
        figures = {"logit_diff_by_scale": self._curves()}
        if result.p_other is not None:
            figures["probabilities_by_scale"] = self._probabilities(result.p_other)
        if self._heads == [None] and len(self._layers) == count > 1 and len(result.scales) > 1:
            figures["logit_diff_by_layer_and_scale"] = self._layer_map()
        if self._heads != [None] and count == len(self._layers) * len(self._heads) and count > 1:
            figures["slope_by_head"] = self._head_map()
        if result.text is not None:
            figures["side_effects_by_scale"] = self._text_curves(result.text)
            if np.isfinite(result.efficiency.value[result.text.sites]).sum() > 1:
                figures["efficiency_against_side_effect"] = self._efficiency_scatter(result.text)
        return figures

    def _curves(self) -> Figure:
        """Draw the logit difference against the scale: a line per site, and the band of random directions."""
        result, labels = self._result, self._labels
        shown = sorted(result.ranking[:MAX_LINES])
        values = result.estimates["logit_diff"]
        lines = [
            self._line(self._name(site), values.rows(result.rows(site)), colour, banded=site == result.best)
            for site, colour in zip(shown, plots.shades(len(shown)), strict=True)
        ]
        bands = f"{intervals_over(labels.over)} ({labels.site(result.best)})"
        if (controls := result.controls) is not None:
            low, middle, high = (self._sorted(part) for part in (controls.low, controls.middle, controls.high))
            name = f"{len(controls.means)} random directions\nof the norm at {labels.site(result.best)}"
            lines.append(plots.Line(name, middle, low, high, plots.NEUTRAL, dashed=True))
            bands += "\nand 95 % band of a random direction there (grey)"
            bands += ",\nnot corrected for the choice of the site" if len(result.steps) > 1 else ""
        panel = plots.LinePanel("logit difference (answer − distractor)", lines, zero=True)
        count = len(result.steps)
        which = f", the {len(shown)} steepest of {count} sites" if len(shown) < count else ""
        return plots.line_panels(self._axis, [panel], labels.title(which), bands)

    def _name(self, site: int) -> str:
        """Return the name of a site with what must not be read from its curve."""
        not_found, is_linear = self._result.initial.discoveries.not_found, self._result.responses[site].linear.is_linear
        name = self._labels.site(site) + ("" if is_linear else ", no linear range")
        return name if not_found is None or not not_found[site] else f"{name}, slope may be 0"

    def _probabilities(self, p_other: Estimate) -> Figure:
        """Draw the probabilities of answer, distractor and all other tokens against the scale, at the best site."""
        result = self._result
        rows = result.rows(result.best)
        lines = [
            self._line("answer", result.estimates["p_answer"].rows(rows), plots.POSITIVE),
            self._line("distractor", result.estimates["p_distractor"].rows(rows), plots.NEGATIVE),
            self._line("all other tokens", p_other, plots.NEUTRAL),
        ]
        panel = plots.LinePanel("probability of the next token", lines, floor=0)
        return plots.line_panels(
            self._axis,
            [panel],
            self._labels.title(f", {self._labels.site(result.best)}"),
            intervals_over(self._labels.over),
        )

    def _layer_map(self) -> Figure:
        result = self._result
        means = result.estimates["logit_diff"].value.reshape(len(self._layers), -1)[:, self._order]
        unsteered = result.baselines.estimates["clean"]["logit_diff"].value[0]
        return plots.heat_maps(
            {"": means},
            plots.Axis("layer", [str(layer) for layer in self._layers]),
            plots.Axis(self._axis.label, self._axis.ticks),
            f"{self._labels.title()}\nwithout steering: {unsteered:.2f}",
            "logit difference\n(blue: answer, red: distractor preferred)",
        )

    def _head_map(self) -> Figure:
        result, shape = self._result, (len(self._layers), len(self._heads))
        not_found = result.initial.discoveries.not_found
        outlined = result.beyond_random[:OUTLINED] if len(result.steps) > OUTLINED else []
        notes = ["outlined: the steepest, beyond random directions at any site"] if outlined else []
        notes += [f"pale, without number: {NOT_FOUND}"] if not_found is not None and not_found.any() else []
        return plots.heat_maps(
            {"": result.initial.slope.value.reshape(shape)},
            plots.Axis("layer", [str(layer) for layer in self._layers]),
            plots.Axis("head", [str(head) for head in self._heads]),
            "\n".join([self._labels.title(), *notes]),
            f"slope of the logit difference\nper unit of scale ({self._labels.unit})\n{self._labels.next_to_zero}",
            floor=plots.EFFECT_FLOOR,
            pale=None if not_found is None else {"": not_found.reshape(shape)},
            outlined=[divmod(site, shape[1]) for site in outlined],
        )

    def _text_curves(self, text: TextEffects) -> Figure:
        """Draw the effects on ordinary text against the scale: a line per measured site, in the order of the sites."""
        panels = []
        for name, label in (
            ("text_loss_change", "change of next-token loss, nats per token"),
            ("text_agreement", "share of unchanged likeliest tokens"),
        ):
            shades = plots.shades(len(text.sites))
            lines = [
                self._line(self._labels.site(site), text.estimates[name].rows(self._result.rows(row)), colour)
                for (site, row), colour in zip(
                    sorted((site, row) for row, site in enumerate(text.sites)), shades, strict=True
                )
            ]
            panels.append(plots.LinePanel(label, lines, zero=name == "text_loss_change"))
        title = (
            f"Steering ordinary text at all positions, {self._labels.component}\n{self._labels.vector}\n"
            f"{self._context.model}, {text.name}, {text.n_passages} passages, loss {text.loss:.2f} without steering"
        )
        return plots.line_panels(self._axis, panels, title, "95 % intervals over passages")

    def _efficiency_scatter(self, text: TextEffects) -> Figure:
        """Draw the efficiency against the largest rise of the text's loss, at each measured site that has both."""
        efficiency = self._result.efficiency.value[text.sites]
        known = np.flatnonzero(np.isfinite(efficiency))
        return plots.scatter(
            text.largest_rise[known],
            efficiency[known],
            [self._labels.site(text.sites[row]) for row in known],
            x_label="side effect: largest rise of next-token loss on\nordinary text within the linear range, nats per "
            "token",
            y_label=f"efficiency: slope of the logit difference\nper {self._labels.norm}",
            title=self._labels.title(),
            named=len(known),
            from_zero=True,
        )

    def _line(self, name: str, by_scale: Estimate, colour: str, *, banded: bool = True) -> plots.Line:
        values, low, high = (self._sorted(part) for part in (by_scale.value, by_scale.low, by_scale.high))
        if not banded:
            low, high = np.full_like(low, np.nan), np.full_like(high, np.nan)
        return plots.Line(name, values, low, high, colour)

    def _sorted(self, by_scale: Array) -> Array:
        """Return values in the order of the axis, given those in the order of the config."""
        ordered: Array = by_scale[self._order]
        return ordered
