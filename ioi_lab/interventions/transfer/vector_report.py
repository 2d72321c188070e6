"""One direction of carrying steering vectors: how much of the native effect comes over, and of which controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ioi_lab.alignment.config import PairOfLayers
from ioi_lab.interventions.base import Measurement, scalars, tidy_table
from ioi_lab.reports import plots
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.stats.responses import Response, prediction_band, slopes
from ioi_lab.transfer.vectors import RANDOM, SHIFT, SHUFFLED, Crossing, ThroughVocabulary, cosine

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ioi_lab.interventions.transfer.config import Transfer

NATIVE, CARRIED = "native", "carried"


@dataclass(frozen=True)
class CarriedVector:
    """All slopes are of the logit difference, a unit of scale, over the linear range of the native response."""

    transfer: Transfer
    measurement: Measurement
    """Of the model that is steered, on its held-out prompts."""

    through: str
    crossing: Crossing
    r2: Mapping[PairOfLayers, float] | None
    """Of the maps, on held-out texts."""

    # What was measured

    @property
    def name(self) -> str:
        """Such as `tiny-gpt2 → tiny-pythia`."""
        return f"{self.crossing.source.side.name} → {self.crossing.target.side.name}"

    @property
    def _bootstrap(self) -> Bootstrap:
        return self.measurement.bootstrap

    @cached_property
    def _responses(self) -> dict[int, Response]:
        """Of the native vectors, by layer."""
        return {layer: self.crossing.response(readout) for layer, readout in self.crossing.native.items()}

    def _slopes(self, readout: Readout, layer: int) -> Array:
        """Of each prompt, over the linear range of this layer's native vector."""
        native = self._responses[layer]
        return slopes(native.linear_scales, self.crossing.response(readout).values[native.linear.rows])

    @cached_property
    def _moved_slopes(self) -> dict[PairOfLayers, Array]:
        return {pair: self._slopes(readout, pair[1]) for pair, readout in self.crossing.moved.items()}

    @cached_property
    def _shares(self) -> Estimate:
        """Of the slope of the same layer's native vector, by pair of layers."""
        moved = np.stack(list(self._moved_slopes.values()))
        return self._bootstrap.ratio(
            moved, np.stack([self._responses[layer].slopes for _, layer in self._moved_slopes])
        )

    @cached_property
    def _control_slopes(self) -> dict[str, Array]:
        layer = self.crossing.best[1]
        return {name: self._slopes(readout, layer) for name, readout in self.crossing.controls.items()}

    @cached_property
    def _margins(self) -> Estimate:
        """By how much the best pair's vector is steeper than each control, prompt by prompt."""
        own = self._moved_slopes[self.crossing.best]
        return self._bootstrap.mean(np.stack([own - control for control in self._control_slopes.values()]))

    @property
    def _beats_controls(self) -> bool:
        """Whether it is steeper than every control, with the whole interval of the difference."""
        margins = self._margins
        return bool(((margins.low if margins.has_bounds else margins.value) > 0).all())

    @property
    def _native_steers(self) -> bool:
        """Whether there is a native effect to have a share of."""
        slope = self._native_slope
        return bool((slope.low if slope.has_bounds else slope.value)[0] > 0)

    @property
    def _native_slope(self) -> Estimate:
        return self._bootstrap.mean(self._responses[self.crossing.best[1]].slopes[None])

    @property
    def _best_row(self) -> int:
        return list(self._moved_slopes).index(self.crossing.best)

    def _strongest(self, readout: Readout) -> int:
        """The mildest scale at which a vector flips most prompts."""
        return int(np.lexsort((-np.abs(self.crossing.scales), self._flipped(readout).value))[-1])

    def _flipped(self, readout: Readout) -> Estimate:
        """The share of prompts whose preference changes, by scale."""
        return self._bootstrap.mean(np.abs(readout.correct - self.crossing.clean.correct))

    # Table and scalars

    def table(self) -> pd.DataFrame:
        """A row a vector and scale: native by layer, carried by pair of layers, and controls of the best pair."""
        crossing, best = self.crossing, self.crossing.best
        parts: list[tuple[str, int | None, int, Readout]] = []
        parts += [(NATIVE, None, layer, readout) for layer, readout in crossing.native.items()]
        parts += [(CARRIED, *pair, readout) for pair, readout in crossing.moved.items()]
        parts += [(name, *best, readout) for name, readout in crossing.controls.items()]
        rows: list[dict[str, Any]] = []
        for vector, source_layer, layer, _ in parts:
            norm = self._norm(vector, source_layer, layer)
            rows += [
                {
                    "component": crossing.target.component,
                    "layer": layer,
                    "position": crossing.target.position,
                    "scale": scale,
                    "direction": self.name,
                    "vector": vector,
                    "source_layer": source_layer,
                    "added_norm": abs(scale) * norm,
                }
                for scale in crossing.scales
            ]
        found = [self.measurement.estimates(readout) | {"flipped": self._flipped(readout)} for *_, readout in parts]
        joined = {name: Estimate.joined([estimates[name] for estimates in found]) for name in found[0]}
        return tidy_table(rows, joined).astype({"source_layer": "Int64"})

    def _norm(self, vector: str, source_layer: int | None, layer: int) -> float:
        """Controls are as long as the vector that they belong to."""
        if vector == NATIVE or source_layer is None:
            return float(np.linalg.norm(self.crossing.target.vectors[layer]))
        return float(np.linalg.norm(self.crossing.carried[source_layer, layer]))

    def metrics(self) -> dict[str, float]:
        """The best pair of layers, and the controls there."""
        crossing, (from_layer, to_layer) = self.crossing, self.crossing.best
        controls = np.stack([values.mean() for values in self._control_slopes.values()])
        worst = int(controls.argmax())
        metrics: dict[str, float] = {
            "n_prompts": len(self.measurement.prompts),
            "n_training_prompts": len(crossing.target.side.contrast.training),
            "n_dropped_prompts": crossing.target.side.contrast.n_dropped,
            "source_layer": from_layer,
            "layer": to_layer,
            "n_controls": len(controls),
            "beats_controls": int(self._beats_controls),
            "native_steers": int(self._native_steers),
            "linear_from": self._responses[to_layer].linear_scales[0],
            "linear_to": self._responses[to_layer].linear_scales[-1],
            "cosine_to_native": self._cosine(crossing.best),
            "norm": float(np.linalg.norm(crossing.carried[crossing.best])),
            "native_norm": float(np.linalg.norm(crossing.target.vectors[to_layer])),
            "steepest_control_slope": float(controls[worst]),
        }
        metrics |= scalars("native_slope", self._native_slope, 0)
        metrics |= scalars("slope", self._bootstrap.mean(self._moved_slopes[crossing.best][None]), 0)
        metrics |= scalars("share_of_native", self._shares, self._best_row)
        metrics |= scalars("margin_over_steepest_control", self._margins, worst)
        strongest = {"native": crossing.native[to_layer], "carried": crossing.moved[crossing.best]}
        for prefix, readout in strongest.items():
            at = self._strongest(readout)
            metrics[f"{prefix}_strongest_scale"] = crossing.scales[at]
            metrics |= scalars(f"{prefix}_flipped", self._flipped(readout), at)
            metrics |= scalars(f"{prefix}_logit_diff", self._bootstrap.mean(readout.logit_diff), at)
        flipped = [self._flipped(readout).value[at] for readout in crossing.controls.values()]
        metrics["control_flipped_highest"] = float(max(flipped))
        metrics |= {f"{prefix}_logit_diff": float(value[at]) for prefix, value in self._bands().items()}
        if self.r2 is not None:
            metrics["map_r2"] = self.r2[crossing.best]
        if isinstance(crossing.carrier, ThroughVocabulary):
            translator = crossing.carrier.translator
            metrics["n_shared_tokens"] = len(translator.shared.source)
            metrics["shared_mass"] = translator.shared_mass(crossing.source.vectors[from_layer])
        return metrics

    def _cosine(self, pair: PairOfLayers) -> float:
        return cosine(self.crossing.carried[pair], self.crossing.target.vectors[pair[1]])

    def _bands(self) -> dict[str, Array]:
        """Where a further control of the kind that there are many of would lie, by scale."""
        means = np.stack([self.crossing.controls[name].logit_diff.mean(axis=1) for name in self._many])
        low, high = prediction_band(means)
        return {"band_low": low, "band_high": high}

    @property
    def _many(self) -> list[str]:
        """The names of the controls of which there are many."""
        return [name for name in self.crossing.controls if name.startswith((RANDOM, SHUFFLED))]

    # Lines for the terminal

    def summary(self) -> list[str]:
        """The best pair of layers, its controls, and the verdict."""
        found, (from_layer, to_layer) = self.metrics(), self.crossing.best

        def interval(name: str, form: str = ".2f", factor: float = 1.0) -> str:
            text = f"{factor * found[name]:{form}}"
            if f"{name}_low" not in found:
                return text
            return f"{text} [{factor * found[f'{name}_low']:{form}}, {factor * found[f'{name}_high']:{form}}]"

        quality = f"R² of the map {found['map_r2']:.2f}" if "map_r2" in found else ""
        if "shared_mass" in found:
            quality = (
                f"{found['n_shared_tokens']:,} shared tokens carry {found['shared_mass']:.0%} of the vector's logits"
            )
        share = f": {interval('share_of_native', '.0f', 100)} % of it" if self._native_steers else ""
        lines = [
            f"{self.name}, layer {from_layer} → {to_layer} (chosen on {int(found['n_training_prompts'])} training "
            f"prompts), {quality}, cosine with the native vector {found['cosine_to_native']:.2f}:",
            f"  slope a unit of scale on {int(found['n_prompts'])} held-out prompts: native "
            f"{interval('native_slope')}, carried {interval('slope')}{share}",
            f"  steepest of {int(found['n_controls'])} controls {found['steepest_control_slope']:.2f}; the carried "
            f"vector is steeper by {interval('margin_over_steepest_control')}",
            f"  flipped: {interval('native_flipped')} by the native vector at scale "
            f"{found['native_strongest_scale']:g}; {interval('carried_flipped')} by the carried one at "
            f"{found['carried_strongest_scale']:g}, where a control flips at most "
            f"{found['control_flipped_highest']:.2f}",
        ]
        if not self._native_steers:
            own = f"{self.crossing.target.side.name}'s own vector"
            lines.append(f"  {own} does not steer it at any layer: there is no native effect to have a share of")
        if self._beats_controls:
            lines.append("  the carried vector does more than every control: what it holds came over")
        else:
            lines.append("  the carried vector does no more than its controls: nothing has been shown to come over")
        return lines

    # Figures

    def figures(self) -> dict[str, Figure]:
        """Effect against scale at the best pair, and slopes by pair of layers."""
        return {"effect_by_scale": self._curves(), "slopes_by_layers": self._map()}

    @property
    def _what(self) -> str:
        vector = self.transfer.vector.replace("_", " ")
        contrast = self.transfer.contrast.replace("_", " ")
        if self.transfer.contrast == "name_pair":
            contrast = " against ".join(self.transfer.names)
        return f"{vector}, {contrast}\n{self.through}"

    @property
    def _data(self) -> str:
        return f"{self.measurement.task_title}, {len(self.measurement.prompts)} held-out prompts"

    def _curves(self) -> Figure:
        crossing, (from_layer, to_layer) = self.crossing, self.crossing.best
        ticks = [f"{scale:g}".replace("-", "−") for scale in crossing.scales]
        axis = plots.Axis("scale (vector norms)", ticks, crossing.scales)
        colours = plots.shades(3)
        native, moved = crossing.native[to_layer], crossing.moved[crossing.best]
        band = self._bands()
        means = np.stack([crossing.controls[name].logit_diff.mean(axis=1) for name in self._many]).mean(axis=0)
        kind = f"{len(self._many)} {'random maps' if self._many[0].startswith(RANDOM) else 'shuffled vocabularies'}"
        logit_diff = [
            self._line("native", self._bootstrap.mean(native.logit_diff), colours[0]),
            self._line("carried", self._bootstrap.mean(moved.logit_diff), colours[1]),
            plots.Line(kind, means, band["band_low"], band["band_high"], plots.NEUTRAL),
        ]
        flipped = [
            self._line("native", self._flipped(native), colours[0]),
            self._line("carried", self._flipped(moved), colours[1]),
        ]
        if SHIFT in crossing.controls:
            shift = crossing.controls[SHIFT]
            unknown = np.full(len(crossing.scales), np.nan)
            shown = shift.logit_diff.mean(axis=1), self._flipped(shift).value
            for lines, values in zip((logit_diff, flipped), shown, strict=True):
                lines.append(plots.Line("mean shift", values, unknown, unknown, plots.NEGATIVE, dashed=True))
        panels = [
            plots.LinePanel("logit difference", logit_diff, zero=True),
            plots.LinePanel("share of prompts that flip", flipped),
        ]
        title = (
            f"Steering {crossing.target.side.name} with a vector of {crossing.source.side.name}\n"
            f"{crossing.target.component} {from_layer} → {to_layer} at {crossing.target.position}, {self._what}\n"
            f"{self._data}"
        )
        return plots.line_panels(
            axis, panels, title, "95 % bootstrap intervals over prompts; of controls, where a further one would lie"
        )

    def _line(self, name: str, estimate: Estimate, colour: str) -> plots.Line:
        return plots.Line(name, estimate.value, estimate.low, estimate.high, colour)

    def _map(self) -> Figure:
        """Slopes of the carried vectors by both layers, and of the native ones on top."""
        crossing = self.crossing
        own = np.array([response.slopes.mean() for response in self._responses.values()])
        moved = np.array([values.mean() for values in self._moved_slopes.values()]).reshape(-1, len(own))
        source, target = crossing.source.side.name, crossing.target.side.name
        rows = plots.Axis(f"layer of {source}", [*map(str, crossing.source.vectors), "native"])
        columns = plots.Axis(f"layer of {target}", [str(layer) for layer in crossing.target.vectors])
        title = (
            f"Steering {target} with vectors of {source}\n{crossing.target.component} at {crossing.target.position}, "
            f"{self._what}\n{self._data}; outlined: chosen on training prompts"
        )
        at = (
            list(crossing.source.vectors).index(crossing.best[0]),
            list(crossing.target.vectors).index(crossing.best[1]),
        )
        return plots.heat_maps(
            {"": np.concatenate([moved, own[None]])},
            rows,
            columns,
            title,
            "slope of the logit difference\na unit of scale (vector norms)",
            upward=True,
            outlined=[at],
        )
