"""One direction of swapping heads between models: what a foreign head recovers in the place of a native one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ioi_lab.alignment.config import PairOfLayers
from ioi_lab.interventions.base import Measurement, scalars, tidy_table
from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.transfer.heads import MEAN, OWN, ZERO, Swap

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ioi_lab.interventions.transfer.config import Transfer

MAX_OTHER_HEADS = 5


@dataclass(frozen=True)
class SwappedHead:
    """Recovery is between the target's corrupted and clean run, on its held-out prompts."""

    transfer: Transfer
    measurement: Measurement
    """Of the model whose head is replaced."""

    through: str
    swap: Swap
    r2: Mapping[PairOfLayers, float]
    """Of the maps, on held-out texts."""

    # What was measured

    @property
    def name(self) -> str:
        """Such as `tiny-gpt2 → tiny-pythia`."""
        return f"{self.swap.source.name} → {self.swap.target.name}"

    @cached_property
    def _estimates(self) -> dict[str, Estimate]:
        return self.measurement.estimates(self.swap.readout)

    @cached_property
    def _moved(self) -> Array:
        """The change of the logit difference in the corrupted run, `[name, prompt]`."""
        moved: Array = self.swap.readout.logit_diff - self.swap.corrupted.logit_diff
        return moved

    @property
    def _chosen(self) -> int:
        return self.swap.row(head_name(self.swap.chosen))

    @property
    def _others(self) -> list[int]:
        """The rows of the other heads of the source."""
        named = {OWN, MEAN, ZERO, head_name(self.swap.chosen)}
        return [row for row, name in enumerate(self.swap.names) if name not in named]

    @cached_property
    def _shares(self) -> Estimate:
        """Of what the head's own clean output does."""
        return self.measurement.bootstrap.ratio(self._moved, self._moved[[self.swap.row(OWN)]])

    @cached_property
    def _margins(self) -> Estimate:
        """By how much more the chosen head recovers than each row does."""
        gap = self.swap.clean.logit_diff - self.swap.corrupted.logit_diff
        return self.measurement.bootstrap.ratio(self._moved[[self._chosen]] - self._moved, gap)

    @property
    def _cosine(self) -> Estimate:
        """Between what the map makes of the foreign head's output and the head's own, over prompts."""
        return self.measurement.bootstrap.mean(self.swap.cosines[None])

    def _is_beaten(self, row: int) -> bool:
        """With the whole interval of the difference."""
        margins = self._margins
        return bool((margins.low if margins.has_bounds else margins.value)[row] > 0)

    @property
    def _unbeaten(self) -> list[str]:
        """Controls that recover as much as the chosen head."""
        rows = [self.swap.row(MEAN), self.swap.row(ZERO), *self._others]
        return [self.swap.names[row] for row in rows if not self._is_beaten(row)]

    # Table and scalars

    def table(self) -> pd.DataFrame:
        """A row for each of what was written in the head's place."""
        layer, head = self.swap.replaced
        rows: list[dict[str, Any]] = []
        for name in self.swap.names:
            is_head = name not in (OWN, MEAN, ZERO)
            rows.append(
                {"component": "z", "layer": layer, "head": head, "position": self.swap.position}
                | {"direction": self.name, "in_its_place": "source head" if is_head else name}
                | {"source_head": name if is_head else None}
            )
        return tidy_table(rows, self._estimates | {"share_of_own": self._shares})

    def metrics(self) -> dict[str, float]:
        """The chosen head, the native one, and the controls."""
        swap, recovery = self.swap, self._estimates["recovery"]
        others = recovery.value[self._others]
        metrics: dict[str, float] = {
            "n_prompts": len(self.measurement.prompts),
            "n_training_prompts": len(swap.target.contrast.training),
            "n_dropped_prompts": swap.target.contrast.n_dropped,
            "source_layer": swap.chosen[0],
            "source_head": swap.chosen[1],
            "layer": swap.replaced[0],
            "head": swap.replaced[1],
            "source_patching_recovery": swap.found[0][swap.chosen],
            "patching_recovery": swap.found[1][swap.replaced],
            "map_r2": self.r2[swap.chosen[0], swap.replaced[0]],
            "length_to_own": swap.length,
            "n_other_heads": len(others),
            "n_unbeaten": len(self._unbeaten),
            "beats_controls": int(not self._unbeaten),
        }
        for name, row in (("own", swap.row(OWN)), ("mean", swap.row(MEAN)), ("zero", swap.row(ZERO))):
            metrics |= scalars(f"recovery_{name}", recovery, row)
        metrics |= scalars("recovery", recovery, self._chosen) | scalars("share_of_own", self._shares, self._chosen)
        metrics |= scalars("cosine_to_own", self._cosine, 0)
        metrics |= scalars("margin_over_mean", self._margins, swap.row(MEAN))
        metrics |= scalars("margin_over_zero", self._margins, swap.row(ZERO))
        if len(others):
            metrics |= {"recovery_other_heads": float(others.mean())}
            metrics |= {"recovery_best_other_head": float(others.max())}
        return metrics

    # Lines for the terminal

    def summary(self) -> list[str]:
        """What was replaced by what, and whether it did more than controls."""
        swap, recovery = self.swap, self._estimates["recovery"]

        def told(row: int) -> str:
            bounds = f" [{recovery.low[row]:.3f}, {recovery.high[row]:.3f}]" if recovery.has_bounds else ""
            return f"{recovery.value[row]:.3f}{bounds}"

        own = swap.row(OWN)
        others = recovery.value[self._others]
        lines = [
            f"{self.name}: head {head_name(swap.chosen)} of {swap.source.name} in the place of head "
            f"{head_name(swap.replaced)} of {swap.target.name} at {swap.position}, {len(self.measurement.prompts)} "
            "held-out prompts, recovery of the logit difference:",
            f"  its own clean output {told(own)}, the foreign head's {told(self._chosen)}{self._share()}",
            f"  its own mean {told(swap.row(MEAN))}, zeroed {told(swap.row(ZERO))}"
            + (
                f", {len(others)} other heads of {swap.source.name} {others.mean():.3f} on average"
                if len(others)
                else ""
            ),
        ]
        if not self._own_recovers:
            lines.append("  the head's own clean output recovers nothing here: there is no native effect to replace")
        cosine = self._cosine
        lines.append(
            f"  what the map (R² {self.r2[swap.chosen[0], swap.replaced[0]]:.2f}) makes of it has a cosine of "
            f"{cosine.value[0]:.2f} with the head's own clean output, both less their means, and {swap.length:.2f} of "
            "its length"
        )
        return [*lines, f"  {self._verdict()}"]

    @property
    def _own_recovers(self) -> bool:
        """Whether there is a native effect to have a share of."""
        own, recovery = self.swap.row(OWN), self._estimates["recovery"]
        return bool((recovery.low if recovery.has_bounds else recovery.value)[own] > 0)

    def _share(self) -> str:
        if not self._own_recovers:
            return ""
        share, row = self._shares, self._chosen
        bounds = f" [{100 * share.low[row]:.0f}, {100 * share.high[row]:.0f}]" if share.has_bounds else ""
        return f": {100 * share.value[row]:.0f}{bounds} % of it"

    def _verdict(self) -> str:
        unbeaten = self._unbeaten
        if not unbeaten:
            return "the foreign head recovers more than every control: what it holds came over"
        few = ", ".join(unbeaten[:MAX_OTHER_HEADS]) + (
            f" and {len(unbeaten) - MAX_OTHER_HEADS} more" if unbeaten[MAX_OTHER_HEADS:] else ""
        )
        if MEAN in unbeaten or ZERO in unbeaten:
            return f"the foreign head recovers no more than controls do ({few}): nothing has been shown to come over"
        others = f"{len(unbeaten)} of {len(self._others)} other heads do ({few})"
        return f"the foreign head recovers more than mean and zero, but no more than {others}"

    # Figures

    def figures(self) -> dict[str, Figure]:
        """Native, foreign and controls side by side; and every head of the source in the same place."""
        return {"recovery_in_its_place": self._bars(), "recovery_by_source_head": self._map()}

    @property
    def _title(self) -> str:
        swap = self.swap
        return (
            f"In the place of head {head_name(swap.replaced)} of {swap.target.name} at {swap.position}: heads of "
            f"{swap.source.name}\n{self.through}, clean into corrupted\n"
            f"{self.measurement.task_title}, {len(self.measurement.prompts)} held-out prompts"
        )

    def _bars(self) -> Figure:
        swap, recovery = self.swap, self._estimates["recovery"]
        others = sorted(self._others, key=lambda row: -recovery.value[row])[:MAX_OTHER_HEADS]
        rows = [swap.row(OWN), self._chosen, *others, swap.row(MEAN), swap.row(ZERO)]
        names = {
            swap.row(OWN): "its own clean output",
            self._chosen: f"{swap.names[self._chosen]} of {swap.source.name}",
        }
        names |= {swap.row(MEAN): "its own mean", swap.row(ZERO): "zeros"}
        names |= {row: f"{swap.names[row]} of {swap.source.name}" for row in others}
        note = (
            f"\nof {len(self._others)} other heads, the {len(others)} best" if len(others) < len(self._others) else ""
        )
        return plots.ranked_bars(
            plots.Axis("what is written in its place", [names[row] for row in rows]),
            recovery.value[rows],
            recovery.low[rows],
            recovery.high[rows],
            value_label="recovery of the logit difference\n(0 = corrupted, 1 = clean)",
            title=self._title + note,
        )

    def _map(self) -> Figure:
        swap, recovery = self.swap, self._estimates["recovery"].value
        layers = list(dict.fromkeys(layer for layer, _ in swap.found[0]))
        beyond = [recovery[swap.row(head_name(head))] - recovery[swap.row(MEAN)] for head in swap.found[0]]
        values = np.array(beyond).reshape(len(layers), -1)
        return plots.heat_maps(
            {"": values},
            plots.Axis(f"layer of {swap.source.name}", [str(layer) for layer in layers]),
            plots.Axis.numbered("head", values.shape[1]),
            f"{self._title}; outlined: head {head_name(swap.chosen)}",
            "recovery of the logit difference\nbeyond that of the head's own mean",
            outlined=[(layers.index(swap.chosen[0]), swap.chosen[1])],
        )
