"""The table, scalars and files of one direction of transferring steering vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ioi_lab.interventions.transfer.vector_figures import VectorFigures, captions_of
from ioi_lab.interventions.transfer.vector_result import StrongestScale, VectorTransferResult
from ioi_lab.interventions.transfer.vector_summary import summary_lines, verdict_sentences
from ioi_lab.reports.report import scalars, tidy_table
from ioi_lab.stats.bootstrap import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ioi_lab.reports.report import ReportContext


class VectorTransferReport:
    """The table, scalars, figures and sentences of one direction; `through` is the route in figure titles."""

    def __init__(self, result: VectorTransferResult, through: str, context: ReportContext) -> None:
        self._result, self._through, self._context = result, through, context

    def table(self) -> pd.DataFrame:
        """Return a row per vector and scale, in the order of the result's vectors."""
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

    def slope_table(self) -> pd.DataFrame:
        """Return a row per vector of the best pair of layers, unrelated directions included."""
        result, (from_layer, to_layer) = self._result, self._result.best
        rows = result.slopes.rows
        where = {"component": result.component, "layer": to_layer, "position": result.position}
        where |= {"direction": result.name, "source_layer": from_layer}
        columns = zip(rows.kinds, rows.names, rows.norms, rows.cosines, strict=True)
        selectors: list[dict[str, Any]] = [
            where | {"kind": kind, "vector": name, "norm": norm, "cosine_to_carried": cosine}
            for kind, name, norm, cosine in columns
        ]
        estimates = {"slope": rows.slopes, "share_of_native": rows.shares}
        return tidy_table(selectors, estimates).drop(columns=["head", "scale"])

    def metrics(self) -> dict[str, float]:
        """Return the scalars of the best pair of layers, and of the controls there."""
        result, slopes, (from_layer, to_layer) = self._result, self._result.slopes, self._result.best
        metrics: dict[str, float] = {
            "n_prompts": result.n_prompts,
            "n_training_prompts": result.n_training_prompts,
            "n_dropped_prompts": result.n_dropped_prompts,
            "n_refits": slopes.n_refits,
            "source_layer": from_layer,
            "layer": to_layer,
            "n_controls": result.n_controls,
            "beats_controls": int(slopes.beats_controls),
            "beats_unrelated": int(slopes.beats_unrelated),
            "beats_mismatched": int(slopes.beats_mismatched),
            "comes_over": int(slopes.comes_over),
            "native_steers": int(slopes.native_steers),
            "linear_from": slopes.scales[0],
            "linear_to": slopes.scales[-1],
            "cosine_to_native": result.cosine_to_native,
            "norm": result.norm,
            "native_norm": result.native_norm,
            "steepest_control_slope": slopes.steepest_control,
        }
        metrics |= scalars("native_slope", slopes.native)
        metrics |= scalars("slope", slopes.carried)
        metrics |= scalars("slope_at_native_norm", slopes.at_native_norm)
        metrics |= scalars("native_slope_at_carried_norm", slopes.native_at_carried_norm)
        metrics["controls_are_in_reach"] = int(not slopes.out_of_reach)
        metrics |= scalars("share_of_native", slopes.share)
        metrics |= scalars("share_at_native_norm", slopes.share_at_native_norm)
        metrics |= scalars("margin_over_steepest_control", slopes.margin_over_steepest)
        for kind in slopes.unrelated:
            prefix = f"unrelated_{kind.key}"
            metrics |= {
                f"n_{prefix}": len(kind.names),
                f"rank_among_{prefix}": kind.rank,
                f"quantile_of_{prefix}": kind.quantile,
                f"slope_sd_of_{prefix}": float(np.std(kind.mean_slopes, ddof=1)),
            }
            metrics |= scalars(f"margin_over_{prefix}", kind.margin)
            if kind.n_found is not None:
                metrics[f"n_found_of_{prefix}"] = kind.n_found
        metrics |= self._mismatched() | self._agreement()
        metrics |= self._strongest("native", result.native_strongest)
        metrics |= self._strongest("carried", result.carried_strongest)
        metrics["control_flipped_highest"] = result.control_flipped_highest
        metrics["band_low_logit_diff"], metrics["band_high_logit_diff"] = result.band_at_strongest
        if result.map_r2 is not None:
            metrics["map_r2"] = result.map_r2
        if result.shared_tokens is not None:
            metrics["n_shared_tokens"] = result.shared_tokens.n_tokens
            metrics["shared_mass"] = result.shared_tokens.mass
            metrics["vocabulary_penalty"] = result.shared_tokens.penalty
            metrics["vocabulary_r2"] = result.shared_tokens.r2
        return metrics

    def _mismatched(self) -> dict[str, float]:
        mismatched = self._result.slopes.mismatched
        metrics: dict[str, float] = {}
        for row, name in enumerate(mismatched.names):
            metrics |= scalars(f"slope_of_{name}", mismatched.slope, row)
            metrics |= scalars(f"margin_over_{name}", mismatched.margin, row)
        return metrics

    def _agreement(self) -> dict[str, float]:
        agreement = self._result.agreement
        metrics = scalars("prompt_correlation", agreement.carried.correlation)
        metrics["quantile_of_unrelated_prompt_correlations"] = agreement.unrelated
        for suffix, at_norm in (("", agreement.carried), ("_at_native_norm", agreement.at_native_norm)):
            metrics |= scalars(f"squared_error{suffix}", at_norm.squared_error)
            metrics |= scalars(f"relative_error{suffix}", at_norm.relative_error)
        return metrics

    def _strongest(self, prefix: str, strongest: StrongestScale) -> dict[str, float]:
        return {
            f"{prefix}_strongest_scale": strongest.scale,
            **scalars(f"{prefix}_flipped", strongest.flipped),
            **scalars(f"{prefix}_logit_diff", strongest.logit_diff),
        }

    def summary(self) -> list[str]:
        """Return lines about the best pair of layers, its controls, and the verdict."""
        return summary_lines(self._result)

    @property
    def verdict(self) -> str:
        """Whether the effect of the vector transfers, in sentences with the numbers."""
        return verdict_sentences(self._result)

    @property
    def captions(self) -> dict[str, str]:
        """How to read the figures."""
        return captions_of(self._result)

    def figures(self) -> dict[str, Figure]:
        """Return the effect by scale, the comparison with controls, the shares, and the slopes by pair of layers."""
        return VectorFigures(self._result, self._through, self._context).all()
