"""What a steering run found, as a table, scalars, figures and lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ioi_lab.interventions.base import Measurement, Report, scalars, tidy_table
from ioi_lab.interventions.grid import MARKED
from ioi_lab.models.selectors import cell_name
from ioi_lab.reports import plots
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.stats.responses import inside_the_others_band, prediction_band

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ioi_lab.interventions.steer.config import Steer, Steering, Step

MAX_LINES: Final = 6
"""A figure shows the curves of so many sites, the steepest."""

FLIP_MAJORITY: Final = 0.5


class SteeringReport:
    """The steered prompts are the held-out ones; so are all numbers but those on ordinary text."""

    def __init__(self, steer: Steer, measurement: Measurement) -> None:
        self._steer = steer
        self._seen: Steering = measurement.observed
        prompts = self._seen.contrast.steered
        self._measurement = replace(
            measurement,
            prompts=prompts,
            clean=self._seen.clean,
            corrupted=self._seen.corrupted,
            edited=self._seen.steered,
            bootstrap=measurement.bootstrap.over(len(prompts)),
        )

    def report(self) -> Report:
        """Everything, with the vectors and the slopes as files of their own."""
        from ioi_lab.interventions.steer.config import save_vectors

        vectors = save_vectors(self._steer, self._seen, self._measurement.task_title)
        files = {"slopes.csv": self._slope_table().to_csv(index=False).encode()}
        files |= {"vectors.safetensors": vectors} if vectors is not None else {}
        return Report(
            table=self._table(),
            metrics=self._metrics(),
            draw=self._figures,
            summary=self._summary(),
            files=files,
            prompts=self._prompt_table(),
            headline="best_logit_diff",
        )

    # What was measured

    @cached_property
    def _estimates(self) -> dict[str, Estimate]:
        """Each metric of the steered runs."""
        return self._measurement.edited_estimates | {"flipped": self._flipped(self._seen.steered)}

    @cached_property
    def _control_estimates(self) -> dict[str, Estimate] | None:
        controls = self._seen.controls
        if controls is None:
            return None
        return self._measurement.estimates(controls) | {"flipped": self._flipped(controls)}

    @cached_property
    def _slopes(self) -> Estimate:
        """The slope of each site's logit difference over its linear range, a unit of scale."""
        return self._measurement.bootstrap.mean(np.stack([response.slopes for response in self._seen.responses]))

    @cached_property
    def _efficiency(self) -> Estimate:
        """The slope where the scale is counted in norms of what the site holds."""
        relative = np.array([step.norm / step.site_norm for step in self._seen.steps])
        factors = np.divide(1.0, relative, out=np.full_like(relative, np.nan), where=relative > 0)
        return Estimate(self._slopes.value * factors, self._slopes.low * factors, self._slopes.high * factors)

    @cached_property
    def _text_effects(self) -> dict[str, Estimate]:
        """By measured site, then by scale."""
        effects = self._seen.side_effects
        if effects is None:
            return {}
        over_text = self._measurement.bootstrap.over(effects.loss.size)
        return {
            "text_loss_change": over_text.mean(effects.loss_change),
            "text_agreement": over_text.mean(effects.agreement),
        }

    def _flipped(self, readout: Readout) -> Estimate:
        """The share of prompts that prefer the other name than without steering."""
        return self._measurement.bootstrap.mean(np.abs(readout.correct - self._seen.clean.correct))

    # Where steering is strongest

    @property
    def _best(self) -> Step:
        return self._seen.steps[self._seen.best]

    def _rows(self, site: int) -> slice:
        """The rows of a site, scale by scale."""
        count = len(self._seen.scales)
        return slice(site * count, (site + 1) * count)

    @cached_property
    def _strongest(self) -> int:
        """At the best site, the mildest scale at which most prompts flip; if none do, where it moves them most.

        Of the scales that push prompts away from what they prefer, which is their answer if the model does the task.
        """
        scales, rows = np.array(self._seen.scales), self._rows(self._seen.best)
        flipped = self._estimates["flipped"].value[rows]
        moved = np.abs(self._estimates["logit_diff"].value[rows] - self._seen.clean.logit_diff.mean())
        second = -np.abs(scales) if flipped.any() else moved
        return int(np.lexsort((second, flipped, self._push_away))[-1])

    @property
    def _push_away(self) -> NDArray[np.bool_]:
        """Which scales push the best site's prompts away from what they prefer on average."""
        push: Array = np.array(self._seen.scales) * self._slopes.value[self._seen.best]
        away: NDArray[np.bool_] = push * self._seen.clean.logit_diff.mean() < 0
        return away

    @property
    def _strongest_row(self) -> int:
        return self._seen.best * len(self._seen.scales) + self._strongest

    @cached_property
    def _control_means(self) -> Array | None:
        """Mean logit difference `[direction, scale]` of the random directions."""
        if self._seen.controls is None:
            return None
        means: Array = self._seen.controls.logit_diff.mean(axis=1).reshape(-1, len(self._seen.scales))
        return means

    @property
    def _is_outside_the_band(self) -> bool:
        if self._control_means is None:
            return False
        low, high = (bound[self._strongest] for bound in prediction_band(self._control_means))
        value = self._estimates["logit_diff"].value[self._strongest_row]
        return not low <= value <= high

    @property
    def _steers(self) -> bool:
        """Whether the direction itself moves the preference: its way, evenly, of most prompts, beyond random ones."""
        is_monotone = self._seen.responses[self._seen.best].is_monotone
        return self._goes_its_way and self._flips_most and is_monotone and self._is_outside_the_band

    @property
    def _goes_its_way(self) -> bool:
        """Whether a positive scale moves prompts towards their answer."""
        return bool(self._slopes.value[self._seen.best] > 0)

    @property
    def _flips_most(self) -> bool:
        """Whether the share of prompts that flip lies above a half with its whole interval, if that is known."""
        flipped = self._estimates["flipped"]
        low, share = flipped.low[self._strongest_row], flipped.value[self._strongest_row]
        return bool((low if np.isfinite(low) else share) > FLIP_MAJORITY)

    # Table and scalars

    def _table(self) -> pd.DataFrame:
        selectors = [
            self._selectors(step, scale, "steering") for step in self._seen.steps for scale in self._seen.scales
        ]
        estimates = dict(self._estimates)
        if self._control_estimates is not None:
            selectors += [
                self._selectors(self._best, scale, f"random {index}")
                for index in range(self._steer.controls)
                for scale in self._seen.scales
            ]
            estimates = {name: Estimate.joined([estimates[name], self._control_estimates[name]]) for name in estimates}
        return tidy_table(selectors, estimates | self._text_columns(len(selectors)))

    def _text_columns(self, count: int) -> dict[str, Estimate]:
        """Side effects in the rows of the sites that they were measured on."""
        rows = [row for site in self._seen.text_sites for row in range(*self._rows(site).indices(count))]
        columns = {}
        for name, estimate in self._text_effects.items():
            arrays = [np.full(count, np.nan) for _ in range(3)]
            for array, values in zip(arrays, (estimate.value, estimate.low, estimate.high), strict=True):
                array[rows] = values
            columns[name] = Estimate(*arrays)
        return columns

    def _selectors(self, step: Step, scale: float, direction: str) -> dict[str, Any]:
        site = step.site
        return {
            "component": site.component,
            "layer": site.layer,
            "head": site.head,
            "position": site.position,
            "scale": scale,
            "direction": direction,
            "added_norm": abs(scale) * step.norm,
            "site_norm": step.site_norm,
        }

    def _slope_table(self) -> pd.DataFrame:
        rows = []
        for step, response in zip(self._seen.steps, self._seen.responses, strict=True):
            selectors = self._selectors(step, 1.0, "steering")
            del selectors["scale"], selectors["direction"]
            probe = {} if step.probed is None else {"probe_accuracy": step.probed.mean()}
            rows.append(
                selectors
                | {"linear_from": response.linear_scales[0], "linear_to": response.linear_scales[-1]}
                | {"r2": response.linear.r2, "monotone": int(response.is_monotone)}
                | probe
            )
        return tidy_table(rows, {"slope": self._slopes, "efficiency": self._efficiency}).drop(columns="scale")

    def _metrics(self) -> dict[str, float]:
        seen, best = self._seen, self._seen.best
        response = seen.responses[best]
        metrics = self._measurement.baseline_metrics() | seen.checks
        metrics |= {
            "n_training_prompts": len(seen.contrast.training),
            "n_dropped_prompts": seen.contrast.n_dropped,
            "names_differ": int(seen.contrast.names_differ),
            "n_edits": len(seen.steps) * len(seen.scales),
            "steers": int(self._steers),
            "best_layer": self._best.site.layer,
        }
        if self._best.site.head is not None:
            metrics["best_head"] = self._best.site.head
        metrics |= scalars("best_slope", self._slopes, best) | scalars("best_efficiency", self._efficiency, best)
        metrics |= {
            "best_linear_from": response.linear_scales[0],
            "best_linear_to": response.linear_scales[-1],
            "best_monotone": int(response.is_monotone),
            "best_vector_norm": self._best.norm,
            "best_site_norm": self._best.site_norm,
            "best_scale": seen.scales[self._strongest],
        }
        if np.isfinite(response.linear.r2):
            metrics["best_r2"] = response.linear.r2
        for name, estimate in self._estimates.items():
            metrics |= scalars(f"best_{name}", estimate, self._strongest_row)
        metrics |= {f"best_flipped_{side}": share for side, share in self._flipped_by_side().items()}
        if self._best.probed is not None:
            metrics["best_probe_accuracy"] = float(self._best.probed.mean())
        return metrics | self._control_metrics() | self._text_metrics()

    def _control_metrics(self) -> dict[str, float]:
        if self._control_means is None or self._control_estimates is None:
            return {}
        low, high = (float(bound[self._strongest]) for bound in prediction_band(self._control_means))
        at_strongest = self._control_means[:, self._strongest]
        flipped = self._control_estimates["flipped"].value.reshape(self._control_means.shape)
        moving = [index for index, scale in enumerate(self._seen.scales) if scale != 0]
        inside = inside_the_others_band(self._control_means)[:, moving]
        return {
            "n_controls": len(self._control_means),
            "control_band_low": low,
            "control_band_high": high,
            "control_logit_diff_lowest": float(at_strongest.min()),
            "control_logit_diff_highest": float(at_strongest.max()),
            "control_flipped_highest": float(flipped[:, self._strongest].max()),
            "controls_inside_band": float(inside.mean()) if moving else 1.0,
            "best_outside_band": int(self._is_outside_the_band),
        }

    def _text_metrics(self) -> dict[str, float]:
        if self._seen.side_effects is None:
            return {}
        row = self._seen.text_sites.index(self._seen.best) * len(self._seen.scales) + self._strongest
        metrics = {"text_loss": float(self._seen.side_effects.loss.mean())}
        for name, estimate in self._text_effects.items():
            metrics |= scalars(f"best_{name}", estimate, row)
        return metrics

    def _flipped_by_side(self) -> dict[str, float]:
        """Shares of flipped prompts by the side that their answer lies on, as far as there are such prompts."""
        flipped = (self._seen.steered.correct != self._seen.clean.correct)[self._strongest_row]
        signs = np.array(self._seen.contrast.signs)
        sides = {"positive": signs > 0, "negative": signs < 0}
        return {name: float(flipped[rows].mean()) for name, rows in sides.items() if rows.any()}

    # Lines for the terminal

    def _summary(self) -> list[str]:
        return [
            self._prompt_line(),
            *self._slope_lines(),
            *self._strongest_lines(),
            *self._probe_lines(),
            *self._text_lines(),
            *self._verdict(),
        ]

    def _prompt_line(self) -> str:
        contrast, count = self._seen.contrast, len(self._measurement.prompts)
        names = "with other names" if contrast.names_differ else "not among these, with the same names"
        source = f"vector from {_counted(len(contrast.training), 'prompt')} ({self._method})"
        if self._steer.vector is not None:
            source = f"vector from {self._steer.vector}"
            names = names if contrast.names_differ else "which may be among its own, with the same names"
        dropped = f"; {contrast.n_dropped} with names of both left out" if contrast.n_dropped else ""
        base = self._seen.clean
        return (
            f"{source}, steered: {_counted(count, 'prompt')} {names}{dropped} "
            f"(logit difference {base.logit_diff.mean():.2f}, accuracy {base.correct.mean():.2f})"
        )

    def _slope_lines(self) -> list[str]:
        order = sorted(range(len(self._seen.steps)), key=lambda site: -abs(self._slopes.value[site]))[:5]
        count = len(self._seen.steps)
        chosen = f" (of {count} sites, ranked on these prompts)" if count > 1 else ""
        lines = [f"slope of the logit difference a unit of scale ({self._unit}){chosen}:"]
        for site in order:
            response = self._seen.responses[site]
            linear = f"{_number(response.linear_scales[0])} to {_number(response.linear_scales[-1])}"
            r2 = f", R² {response.linear.r2:.3f}" if np.isfinite(response.linear.r2) else ""
            efficiency = self._efficiency.value[site]
            told = f", {efficiency:.2f} a {self._norm_word}" if np.isfinite(efficiency) else ""
            lines.append(f"  {self._name(site):<14} {_interval(self._slopes, site)}  from {linear}{r2}{told}")
        return lines

    def _strongest_lines(self) -> list[str]:
        scale, row = self._seen.scales[self._strongest], self._strongest_row
        by_side = self._flipped_by_side()
        sides = ", ".join(f"{SIDES[self._steer.contrast][name]} {share:.2f}" for name, share in by_side.items())
        sides = f" ({sides})" if len(by_side) > 1 else ""
        lines = [
            f"{self._name(self._seen.best)} at scale {_number(scale)}: logit difference "
            f"{self._seen.clean.logit_diff.mean():.2f} → {_interval(self._estimates['logit_diff'], row)}, "
            f"share of prompts that flip {_interval(self._estimates['flipped'], row)}{sides}"
        ]
        if controls := self._control_metrics():
            lines.append(
                f"{int(controls['n_controls'])} random directions of the same norm there: "
                f"{controls['control_logit_diff_lowest']:.2f} to {controls['control_logit_diff_highest']:.2f}, "
                f"at most {controls['control_flipped_highest']:.2f} flip; 95 % band "
                f"[{controls['control_band_low']:.2f}, {controls['control_band_high']:.2f}] (over all scales "
                f"{controls['controls_inside_band']:.2f} of them lie in the band of the others)"
            )
        return lines

    def _probe_lines(self) -> list[str]:
        probed = self._best.probed
        if probed is None:
            return []
        test = stats.binomtest(int(probed.sum()), len(probed)).proportion_ci(0.95, method="wilson")
        interval = f"{probed.mean():.2f} [{test.low:.2f}, {test.high:.2f}] of {len(probed)} held-out activations"
        if test.low <= 0.5:
            return [
                f"warning: the probe of {self._name(self._seen.best)} is at chance ({interval}): its direction means "
                "little"
            ]
        return [f"the probe of {self._name(self._seen.best)} tells the sides of {interval}"]

    def _text_lines(self) -> list[str]:
        metrics = self._text_metrics()
        if not metrics:
            return []
        return [
            f"ordinary text ({self._seen.text}) at that scale: next-token loss {metrics['text_loss']:.2f} → "
            f"{metrics['text_loss'] + metrics['best_text_loss_change']:.2f} nats, the likeliest token stays "
            f"{metrics['best_text_agreement']:.2f}"
        ]

    def _verdict(self) -> list[str]:
        name = self._measurement.shape.name
        if self._best.norm == 0:
            return [f"warning: nothing to steer {name} with: the sides do not differ at these sites"]
        if not self._push_away.any():
            return [f"note: no scale pushes {name} away from what it prefers, so there is nothing to flip"]
        if self._steers:
            return [f"{name} is steered by this direction: evenly, most prompts, and beyond random directions"]
        reasons = []
        if not self._goes_its_way:
            reasons.append("it pushes the other way")
        if not self._flips_most:
            reasons.append("no scale surely flips most prompts")
        if not self._seen.responses[self._seen.best].is_monotone:
            reasons.append("the logit difference does not rise evenly with the scale")
        if not self._is_outside_the_band:
            reasons.append("random directions of the same norm do as much")
        return [f"warning: {name} is not steered by this direction: {'; '.join(reasons)}"]

    # Figures

    def _figures(self) -> dict[str, Figure]:
        figures = {"logit_diff_by_scale": self._curves()}
        if self._seen.steered.p_answer is not None:
            figures["probabilities_by_scale"] = self._probabilities()
        layers = list(dict.fromkeys(step.site.layer for step in self._seen.steps))
        heads = list(dict.fromkeys(step.site.head for step in self._seen.steps))
        count = len(self._seen.steps)
        if heads == [None] and len(layers) == count > 1 and len(self._seen.scales) > 1:
            figures["logit_diff_by_layer_and_scale"] = self._layer_map(layers)
        if heads != [None] and count == len(layers) * len(heads) and count > 1:
            figures["slope_by_head"] = self._head_map(layers, heads)
        if self._seen.side_effects is not None:
            figures["side_effects_by_scale"] = self._side_effect_curves()
            if len(self._seen.text_sites) > 1:
                figures["efficiency_against_side_effect"] = self._efficiency_scatter()
        return figures

    def _curves(self) -> Figure:
        """The logit difference against the scale, a line a site, and the random directions' band."""
        order = sorted(range(len(self._seen.steps)), key=lambda site: -abs(self._slopes.value[site]))
        shown = sorted(order[:MAX_LINES])
        axis, values = self._scale_axis(), self._estimates["logit_diff"]
        lines = [
            self._line(self._name(site), values.rows(self._rows(site)), colour, banded=site == self._seen.best)
            for site, colour in zip(shown, plots.shades(len(shown)), strict=True)
        ]
        bands = f"95 % bootstrap interval over prompts ({self._name(self._seen.best)})"
        if self._control_means is not None:
            low, high = (self._sorted(bound) for bound in prediction_band(self._control_means))
            middle = self._sorted(self._control_means.mean(axis=0))
            name = f"{len(self._control_means)} random directions\nof the norm at {self._name(self._seen.best)}"
            lines.append(plots.Line(name, middle, low, high, plots.NEUTRAL, dashed=True))
            bands += "\nand 95 % band of a random direction (grey)"
        panel = plots.LinePanel("logit difference (answer − distractor)", lines, zero=True)
        return plots.line_panels(axis, [panel], self._title(), bands)

    def _probabilities(self) -> Figure:
        """P(answer), P(distractor) and the rest against the scale, at the best site."""
        rows = self._rows(self._seen.best)
        steered = self._seen.steered.select(rows)
        assert steered.p_answer is not None
        assert steered.p_distractor is not None
        rest = self._measurement.bootstrap.mean(1 - steered.p_answer - steered.p_distractor)
        lines = [
            self._line("answer", self._estimates["p_answer"].rows(rows), plots.POSITIVE),
            self._line("distractor", self._estimates["p_distractor"].rows(rows), plots.NEGATIVE),
            self._line("all other tokens", rest, plots.NEUTRAL),
        ]
        panel = plots.LinePanel("probability of the next token", lines, floor=0)
        return plots.line_panels(self._scale_axis(), [panel], self._title(f", {self._name(self._seen.best)}"))

    def _layer_map(self, layers: Sequence[int]) -> Figure:
        means = self._estimates["logit_diff"].value.reshape(len(layers), -1)[:, np.argsort(self._seen.scales)]
        ticks = [_number(scale) for scale in sorted(self._seen.scales)]
        return plots.heat_maps(
            {"": means},
            plots.Axis("layer", [str(layer) for layer in layers]),
            plots.Axis(f"scale ({self._unit})", ticks),
            f"{self._title()}\nwithout steering: {self._seen.clean.logit_diff.mean():.2f}",
            "logit difference\n(blue: answer, red: distractor preferred)",
        )

    def _head_map(self, layers: Sequence[int], heads: Sequence[int | None]) -> Figure:
        return plots.heat_maps(
            {"": self._slopes.value.reshape(len(layers), len(heads))},
            plots.Axis("layer", [str(layer) for layer in layers]),
            plots.Axis("head", [str(head) for head in heads]),
            f"{self._title()}\noutlined: the steepest",
            f"slope of the logit difference\na unit of scale ({self._unit})",
            MARKED if len(self._seen.steps) > MARKED else 0,
        )

    def _side_effect_curves(self) -> Figure:
        sites = sorted(self._seen.text_sites)
        panels = []
        for name, label in (
            ("text_loss_change", "change of next-token loss, nats"),
            ("text_agreement", "share of likeliest tokens that stay"),
        ):
            lines = []
            for site, colour in zip(sites, plots.shades(len(sites)), strict=True):
                start = self._seen.text_sites.index(site)
                lines.append(self._line(self._name(site), self._text_effects[name].rows(self._rows(start)), colour))
            panels.append(plots.LinePanel(label, lines, zero=name == "text_loss_change"))
        effects = self._seen.side_effects
        assert effects is not None
        title = (
            f"Steering ordinary text at all positions, {self._steer.site}\n{self._what}\n"
            f"{self._measurement.shape.name}, {self._seen.text}, {effects.loss.size} passages, "
            f"loss {effects.loss.mean():.2f} without steering"
        )
        return plots.line_panels(self._scale_axis(), panels, title, "95 % bootstrap intervals over passages")

    def _efficiency_scatter(self) -> Figure:
        """Efficiency of each measured site against the largest rise of the text's loss within its linear range."""
        scales = np.array(self._seen.scales)
        costs = []
        for index, site in enumerate(self._seen.text_sites):
            linear = self._seen.responses[site].linear_scales
            change = self._text_effects["text_loss_change"].value[self._rows(index)]
            costs.append(change[(linear[0] <= scales) & (scales <= linear[-1])].max(initial=0.0))
        return plots.scatter(
            np.array(costs),
            np.nan_to_num(self._efficiency.value[self._seen.text_sites]),
            [self._name(site) for site in self._seen.text_sites],
            x_label="side effect: largest rise of next-token loss on\nordinary text within the linear range, nats",
            y_label=f"efficiency: slope of the logit difference\na {self._norm_word}",
            title=self._title(),
            named=len(costs),
            from_zero=True,
        )

    def _scale_axis(self) -> plots.Axis:
        scales = sorted(self._seen.scales)
        return plots.Axis(f"scale ({self._unit})", [_number(scale) for scale in scales], scales)

    def _line(self, name: str, by_scale: Estimate, colour: str, *, banded: bool = True) -> plots.Line:
        values, low, high = (self._sorted(array) for array in (by_scale.value, by_scale.low, by_scale.high))
        if not banded:
            low, high = np.full_like(low, np.nan), np.full_like(high, np.nan)
        return plots.Line(name, values, low, high, colour)

    def _sorted(self, by_scale: Array) -> Array:
        """From the order of the config into that of the axis."""
        ordered: Array = by_scale[np.argsort(self._seen.scales)]
        return ordered

    def _prompt_table(self) -> pd.DataFrame:
        """The steered prompts with their baselines, and by each the way along the vector that its answer lies."""
        return self._measurement.prompt_table().assign(sign=self._seen.contrast.signs)

    # Words

    def _name(self, site: int) -> str:
        at = self._seen.steps[site].site
        name = cell_name(at.layer, at.head)
        if len({step.site.position for step in self._seen.steps}) == 1:
            return name
        return f"{name} @ {self._measurement.prompts.position_name(at.position)}"

    def _title(self, where: str = "") -> str:
        positions = {step.site.position for step in self._seen.steps}
        at = f" at {self._measurement.prompts.position_name(positions.pop())}" if len(positions) == 1 else ""
        count = len(self._measurement.prompts)
        measured = (
            f"{self._measurement.shape.name}, {self._measurement.task_title}, {_counted(count, 'held-out prompt')}"
        )
        return f"Steering {self._steer.site}{at}{where}\n{self._what}\n{measured}"

    @property
    def _what(self) -> str:
        return f"{self._method}, {self._contrast_name}"

    @property
    def _method(self) -> str:
        return self._steer.method.replace("_", " ")

    @property
    def _contrast_name(self) -> str:
        if self._steer.contrast == "name_pair":
            return f"{self._steer.names[0]} against {self._steer.names[1]}"
        return self._steer.contrast.replace("_", " ")

    @property
    def _unit(self) -> str:
        return "vector norms" if self._steer.unit == "vector" else f"{self._norm_word}s"

    @property
    def _norm_word(self) -> str:
        return "norm of the head's output" if self._steer.site == "z" else "residual norm"


SIDES: Final[Mapping[str, Mapping[str, str]]] = {
    "clean_corrupt": {"positive": "clean", "negative": "corrupted"},
    "answer_position": {"positive": "answer named first", "negative": "answer named second"},
    "name_pair": {"positive": "answer is the first name", "negative": "answer is the second name"},
}


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _interval(estimate: Estimate, row: int) -> str:
    bounds = f" [{estimate.low[row]:.2f}, {estimate.high[row]:.2f}]" if estimate.has_bounds else ""
    return f"{estimate.value[row]:.2f}{bounds}"
