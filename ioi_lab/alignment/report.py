"""What an alignment found, as a table, scalars, figures and lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ioi_lab.alignment.align import Alignment, Maps, distance_from_identity, save_maps
from ioi_lab.alignment.config import AlignmentConfig, PairOfLayers
from ioi_lab.alignment.fitting import Errors, Fit
from ioi_lab.alignment.pairing import Pairing
from ioi_lab.reports import plots
from ioi_lab.reports.report import Report, scalars, tidy_table
from ioi_lab.stats.bootstrap import Bootstrap, Estimate
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MIN_SHOWN_R2: Final = -1.0
CONTROLS: Final = {"mean_shift": "mean shift", "shuffled": "shuffled pairs"}


class AlignmentReport:
    """Every number but CKA is of held-out texts; the intervals are over these texts."""

    def __init__(self, alignment: Alignment, pairing: Pairing, config: AlignmentConfig, corpus: str, seed: int) -> None:
        self._alignment = alignment
        self._pairing = pairing
        self._config = config
        self._corpus = corpus
        groups = len(next(iter(alignment.forward_errors.values())).total)
        self._bootstrap = Bootstrap(groups, seed)

    def report(self) -> Report:
        """Everything, with the maps as a file."""
        maps = Maps.of(self._alignment, self._config, self._corpus)
        counts = {"n_positions": self._alignment.n_positions, "n_held_out": self._alignment.n_held_out}
        return Report(
            table=self._table(),
            metrics=self._metrics(),
            draw=lambda: {
                "r2_by_layers": self._maps_of_r2(),
                "controls_forward": self._control_lines(0),
                "controls_backward": self._control_lines(1),
            },
            summary=self._summary(),
            files={"maps.safetensors": save_maps(maps, self._pairing.models, **counts)},
            headline="forward_best_r2",
        )

    @property
    def _ways(self) -> list[tuple[str, Mapping[PairOfLayers, Fit], Mapping[PairOfLayers, Errors]]]:
        """Both directions by name, with the maps and their errors."""
        first, second = self._pairing.names
        found = self._alignment
        return [
            (f"{first} → {second}", found.forward, found.forward_errors),
            (f"{second} → {first}", found.backward, found.backward_errors),
        ]

    @cached_property
    def _estimates(self) -> list[dict[str, Estimate]]:
        """Of either direction, a row a pair of layers."""
        return [self._of(list(errors.values())) for _, _, errors in self._ways]

    def _of(self, errors: list[Errors]) -> dict[str, Estimate]:
        def stacked(name: str) -> Array:
            return np.stack([getattr(each, name) for each in errors])

        total, ratio = stacked("total"), self._bootstrap.ratio
        return {
            "r2": ratio(total - stacked("map"), total),
            "cosine": ratio(stacked("cosine"), stacked("count")),
            "error_to_mean": ratio(stacked("map"), stacked("mean")),
            "error_to_shuffled": ratio(stacked("map"), stacked("shuffled")),
            "r2_mean_shift": ratio(total - stacked("mean_shift"), total),
            "r2_shuffled": ratio(total - stacked("shuffled"), total),
        }

    def _table(self) -> pd.DataFrame:
        rows: list[dict[str, Any]] = [
            {"component": self._config.site, "layer": to_layer, "source_layer": from_layer, "direction": name}
            | {"method": self._config.method, "penalty": fit.penalty, "cka": fit.cka}
            for name, fits, _ in self._ways
            for (from_layer, to_layer), fit in fits.items()
        ]
        joined = {
            name: Estimate.joined([estimates[name] for estimates in self._estimates]) for name in self._estimates[0]
        }
        return tidy_table(rows, joined)

    def _best(self, way: int) -> int:
        """The row of the pair of layers with the largest R²."""
        return int(self._estimates[way]["r2"].value.argmax())

    def _metrics(self) -> dict[str, float]:
        found = self._alignment
        metrics: dict[str, float] = {
            "n_texts": found.n_texts,
            "n_held_out_texts": found.n_held_out_texts,
            "n_positions": found.n_positions,
            "n_held_out_positions": found.n_held_out,
            "n_maps": len(found.forward) + len(found.backward),
            "n_parameters": found.n_parameters,
        }
        for way, (_, fits, _) in enumerate(self._ways):
            prefix, best = ("forward", "backward")[way], self._best(way)
            from_layer, to_layer = list(fits)[best]
            metrics |= {f"{prefix}_best_source_layer": from_layer, f"{prefix}_best_layer": to_layer}
            metrics[f"{prefix}_mean_r2"] = float(self._estimates[way]["r2"].value.mean())
            metrics[f"{prefix}_highest_r2_shuffled"] = float(self._estimates[way]["r2_shuffled"].value.max())
            for metric, estimate in self._estimates[way].items():
                metrics |= scalars(f"{prefix}_best_{metric}", estimate, best)
            metrics[f"{prefix}_best_cka"] = fits[from_layer, to_layer].cka
        return metrics

    # Lines for the terminal

    def _summary(self) -> list[str]:
        found = self._alignment
        lines = [
            f"{self._corpus}: fitted on {found.n_positions:,} shared positions of {found.n_texts:,} texts, tried on "
            f"{found.n_held_out:,} of {found.n_held_out_texts:,} others"
        ]
        if found.n_parameters > found.n_positions:
            lines.append(
                f"warning: a map has {found.n_parameters:,} parameters, more than the {found.n_positions:,} positions "
                "that it was fitted on; read the held-out R², and prefer a larger corpus or alignment=lowrank"
            )
        for way, (name, fits, _) in enumerate(self._ways):
            lines += self._best_lines(way, name, fits)
        if self._is_one_model:
            same = [distance_from_identity(fit.map) for (i, j), fit in found.forward.items() if i == j]
            where = f"; between equal layers it is off by at most {max(same):.2g} of its size" if same else ""
            lines.append(f"note: source and target are the same model: the map should be near the identity{where}")
        return lines

    def _best_lines(self, way: int, name: str, fits: Mapping[PairOfLayers, Fit]) -> list[str]:
        estimates = self._estimates[way]
        order = np.argsort(-estimates["r2"].value, kind="stable")[:3]
        lines = [f"{name}, held-out R² of the {self._config.title} by layers (of {len(fits)} pairs):"]
        for row in order:
            (from_layer, to_layer), r2 = list(fits)[row], estimates["r2"]
            bounds = f"[{r2.low[row]:.3f}, {r2.high[row]:.3f}]" if r2.has_bounds else ""
            pair = f"{from_layer} → {to_layer}"
            rest = ", ".join(
                f"{label} {estimates[metric].value[row]:.2f}"
                for metric, label in (
                    ("cosine", "cosine"),
                    ("error_to_mean", "error / the mean's"),
                    ("error_to_shuffled", "error / shuffled pairs'"),
                )
            )
            cka = list(fits.values())[row].cka
            lines.append(f"  {pair:<9} {r2.value[row]:6.3f} {bounds}  {rest}, CKA {cka:.2f}")
        return lines

    @property
    def _is_one_model(self) -> bool:
        first, second = self._pairing.models
        return first.weights_sha256 == second.weights_sha256

    # Figures

    @property
    def _data_title(self) -> str:
        found = self._alignment
        return (
            f"{self._corpus}: {found.n_positions:,} positions fitted, {found.n_held_out:,} of "
            f"{found.n_held_out_texts:,} other texts tried"
        )

    def _maps_of_r2(self) -> Figure:
        """R² both ways and CKA, on the same axes: the source model's layers upwards, the target's to the right."""
        source, target = (
            plots.Axis(f"layer of {name}", [str(layer) for layer in layers])
            for name, layers in zip(self._pairing.names, self._pairing.layers, strict=True)
        )
        size = len(source.ticks), len(target.ticks)
        forward, backward = (estimates["r2"].value for estimates in self._estimates)
        cka = np.array([fit.cka for fit in self._alignment.forward.values()])
        panels = {
            f"R², {self._ways[0][0]}": forward.reshape(size),
            f"R², {self._ways[1][0]}": backward.reshape(size[::-1]).T,
            "linear CKA": cka.reshape(size),
        }
        what = f"Aligning {self._config.site} by a {self._config.title}: held-out R² of each pair of layers"
        label = "R², or CKA (0 = nothing shared, 1 = all)"
        return plots.heat_maps(panels, source, target, f"{what}\n{self._data_title}", label, limit=1.0, upward=True)

    def _control_lines(self, way: int) -> Figure:
        """R² by the layer that is mapped to, of the map from the best layer and of its controls."""
        name, fits, _ = self._ways[way]
        from_layer, _ = list(fits)[self._best(way)]
        rows = [row for row, (own, _) in enumerate(fits) if own == from_layer]
        colours = plots.shades(3)
        lines = [self._line(way, "r2", self._config.title, rows, colours[0])]
        lines += [
            self._line(way, f"r2_{control}", label, rows, colour)
            for (control, label), colour in zip(CONTROLS.items(), colours[1:], strict=True)
            if control != self._config.method
        ]
        to_model = self._pairing.names[1 - way]
        axis = plots.Axis(
            f"layer of {to_model} that is mapped to", [str(layer) for own, layer in fits if own == from_layer]
        )
        found = self._alignment
        title = (
            f"Aligning {self._config.site}: the map and its controls\n{name}, from layer {from_layer}\n"
            f"{self._corpus}, {found.n_positions:,} positions fitted\n"
            f"{found.n_held_out:,} of {found.n_held_out_texts:,} other texts tried"
        )
        cut = any((line.values < MIN_SHOWN_R2).any() for line in lines)
        label = "held-out R² (0: as good as the mean" + (";\ncut off below −1)" if cut else ")")
        panel = plots.LinePanel(label, lines, zero=True, floor=MIN_SHOWN_R2 if cut else None)
        return plots.line_panels(axis, [panel], title, "95 % bootstrap intervals over texts")

    def _line(self, way: int, metric: str, label: str, rows: list[int], colour: str) -> plots.Line:
        estimate = self._estimates[way][metric]
        return plots.Line(label, estimate.value[rows], estimate.low[rows], estimate.high[rows], colour)
