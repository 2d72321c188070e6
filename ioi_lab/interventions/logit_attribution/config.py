"""Direct logit attribution: what each component writes straight into the logit difference at END.

Exact, with the final norm's scale held as it is in the run: the terms add up to the model's logit difference, which
every run checks. Method: see `ioi_lab.lenses.direct`. Nothing is edited.
"""

from __future__ import annotations

from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ioi_lab.engine.edits import Pass
from ioi_lab.interventions.base import Intervention, Measurement, Report, scalars, tidy_table
from ioi_lab.interventions.grid import MARKED, MAX_BARS
from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ioi_lab.engine.engine import Engine
    from ioi_lab.lenses.direct import DirectEffects, DirectTerms

SCALE: Final = "direct effect on the logit difference\n(logits, answer − distractor)"


class LogitAttribution(Intervention):
    """The direct effect of the embedding, each head, each MLP and all biases, in the clean or the corrupted `run`."""

    run: Pass

    @property
    def title(self) -> str:
        """`logit attribution`."""
        return "logit attribution" + (" (corrupted)" if self.run == "corrupted" else "")

    def observe(self, engine: Engine) -> DirectEffects:
        """The terms of all prompts, checked against the model's own logits."""
        from ioi_lab.lenses.direct import direct_effects

        return direct_effects(engine, self.run)

    def report(self, measurement: Measurement) -> Report:
        """A row a term; the layer × head map, and the largest terms as bars."""
        return _Terms(self, measurement).report()


class _Terms:
    """The terms as rows, with their names, means and intervals."""

    def __init__(self, attribution: LogitAttribution, measurement: Measurement) -> None:
        self._attribution = attribution
        self._measurement = measurement
        self._effects: DirectEffects = measurement.observed
        self._rows = _rows(self._effects.difference)

    def report(self) -> Report:
        selectors = [selector for selector, _ in self._rows]
        columns = {"direct_effect": self._estimate}
        for token in ("answer", "distractor"):
            terms: DirectTerms = getattr(self._effects, token)
            columns[f"on_{token}"] = self._measurement.bootstrap.mean(np.stack([values for _, values in _rows(terms)]))
        return Report(
            table=tidy_table(selectors, columns),
            metrics=self._metrics(),
            draw=lambda: {"direct_effect_by_head": self._head_map(), "top_terms": self._bars()},
            summary=self._summary(),
        )

    @cached_property
    def _estimate(self) -> Estimate:
        return self._measurement.bootstrap.mean(np.stack([values for _, values in self._rows]))

    @cached_property
    def _ranking(self) -> list[int]:
        ranking: list[int] = np.argsort(-np.abs(self._estimate.value), kind="stable").tolist()
        return ranking

    def _metrics(self) -> dict[str, float]:
        metrics = self._measurement.baseline_metrics() | {
            "n_terms": len(self._rows),
            "sum_of_terms": float(self._effects.difference.sum.mean()),
            "check_sum_error": self._effects.error,
        }
        best = next(row for row in self._ranking if self._rows[row][0]["head"] is not None)
        metrics |= {
            "best_row": best,
            "best_layer": self._rows[best][0]["layer"],
            "best_head": self._rows[best][0]["head"],
        }
        return metrics | scalars("best_direct_effect", self._estimate, best)

    def _summary(self) -> list[str]:
        total = self._effects.logit_diff.mean()
        lines = [f"largest direct effects on the logit difference of {total:.2f}, {self._attribution.run} prompts:"]
        for row in self._ranking[:8]:
            estimate = self._estimate
            interval = f"   [{estimate.low[row]:.3f}, {estimate.high[row]:.3f}]" if estimate.has_bounds else ""
            lines.append(f"  {term_name(self._rows[row][0]):<14} {estimate.value[row]:7.3f}{interval}")
        lines.append(f"all {len(self._rows)} terms add up to it within {self._effects.error:.1e}")
        return lines

    def _head_map(self) -> Figure:
        heads = self._effects.difference.heads.mean(axis=-1)
        layers, names = (plots.Axis.numbered(*axis) for axis in zip(("layer", "head"), heads.shape, strict=True))
        title = f"{self._title}, each head\n{self._measurement.data_title}\noutlined: the strongest"
        return plots.heat_maps({"": heads}, layers, names, title, SCALE, MARKED)

    def _bars(self) -> Figure:
        top = self._ranking[:MAX_BARS]
        estimate = self._estimate
        return plots.ranked_bars(
            plots.Axis("component", [term_name(self._rows[row][0]) for row in top]),
            estimate.value[top],
            estimate.low[top],
            estimate.high[top],
            value_label=SCALE,
            title=f"{self._title}, largest first\n{self._measurement.data_title}",
        )

    @property
    def _title(self) -> str:
        return f"Direct logit attribution, {self._attribution.run} prompts"


def term_name(selector: dict[str, Any]) -> str:
    """`9.9`, `MLP 3`, `attention bias 3`, `embedding` or `constant`."""
    layer, head = selector["layer"], selector["head"]
    if head is not None:
        return head_name((layer, head))
    kind = {"mlp_out": "MLP", "attn_bias": "attention bias", "embed": "embedding"}.get(
        selector["component"], "constant"
    )
    return kind if layer is None else f"{kind} {layer}"


def _rows(terms: DirectTerms) -> list[tuple[dict[str, Any], Array]]:
    """Each term's selectors and its values by prompt, in the order of the forward pass."""

    def row(component: str, layer: int | None, head: int | None, values: Array) -> tuple[dict[str, Any], Array]:
        return {"component": component, "layer": layer, "head": head, "position": "END"}, values

    n_layers, n_heads = terms.heads.shape[:2]
    rows = [row("embed", None, None, terms.embedding)]
    for layer, head in product(range(n_layers), range(n_heads)):
        rows.append(row("z", layer, head, terms.heads[layer, head]))
        if head == n_heads - 1:
            rows.append(row("attn_bias", layer, None, terms.attention_bias[layer]))
            rows.append(row("mlp_out", layer, None, terms.mlps[layer]))
    return [*rows, row("constant", None, None, terms.constant)]
