"""The report of a steering run: its tables, scalars and files. Figures and sentences are in files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ioi_lab.interventions.steer.controls import Controls
from ioi_lab.interventions.steer.measure import SteerResult
from ioi_lab.interventions.steer.steps import Step
from ioi_lab.interventions.steer.summary import summary_lines
from ioi_lab.interventions.steer.texts import with_texts
from ioi_lab.reports.charts import Chart, Curves, Map, Ranking
from ioi_lab.reports.report import Report, ReportContext, per_prompt_file, scalars, tidy_columns
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.steering.files import vector_file
from ioi_lab.storage.tables import csv_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def steering_report(result: SteerResult, context: ReportContext) -> Report:
    """Return the report, with the slopes and the vectors as files of their own."""

    def figures() -> dict[str, Figure]:
        from ioi_lab.interventions.steer.figures import SteeringFigures

        return SteeringFigures(result, context).all()

    report = Report(
        table=_columns(result),
        metrics=_metrics(result),
        draw=figures,
        summary=summary_lines(result, context),
        files=_files(result, context.task),
        prompts=result.baselines.prompt_columns() | {"sign": result.contrast.signs},
        headline="best_logit_diff",
        charts=_charts(result),
    )
    return with_texts(report, result, context)


def _charts(result: SteerResult) -> list[Chart]:
    """Return the columns along the scale, with a line per site, and the slopes."""
    by, only = ("component", "layer", "head", "position"), {"direction": "steering"}
    names = ("logit_diff", "p_answer", "p_distractor", *(result.text.estimates if result.text is not None else ()))
    curves = [Curves(f"{name}_by_scale", "scale", name, by, only) for name in names]
    return [
        *curves,
        Curves("slope_by_layer", "layer", "initial_slope", ("head", "position"), table="slopes"),
        Ranking("slopes", "initial_slope", ("layer", "head", "position"), table="slopes"),
        Map("slope_by_head", "initial_slope", "layer", "head", table="slopes"),
    ]


def _columns(result: SteerResult) -> dict[str, Any]:
    """Return the columns of a row per site and scale, then a row per random direction and scale."""
    selectors = [_selectors(step, scale, "steering") for step in result.steps for scale in result.scales]
    estimates = dict(result.estimates)
    if (controls := result.controls) is not None:
        best = result.steps[result.best]
        selectors += [
            _selectors(best, scale, f"random {index}")
            for index in range(len(controls.means))
            for scale in result.scales
        ]
        estimates = {name: Estimate.joined([estimates[name], controls.estimates[name]]) for name in estimates}
    return tidy_columns(selectors, estimates | _text_columns(result, len(selectors)))


def _text_columns(result: SteerResult, count: int) -> dict[str, Estimate]:
    """Return the effects on ordinary text in the rows of the sites at which they were measured; NaN in the others."""
    if (text := result.text) is None:
        return {}
    rows = [row for site in text.sites for row in range(*result.rows(site).indices(count))]

    def column(values: Array) -> Array:
        filled = np.full(count, np.nan)
        filled[rows] = values
        return filled

    return {
        name: Estimate(column(estimate.value), column(estimate.low), column(estimate.high))
        for name, estimate in text.estimates.items()
    }


def _selectors(step: Step, scale: float, direction: str) -> dict[str, Any]:
    return _site(step) | {
        "scale": scale,
        "direction": direction,
        "added_norm": abs(scale) * step.norm,
        "site_norm": step.site_norm,
    }


def _site(step: Step) -> dict[str, Any]:
    site = step.site
    return {"component": site.component, "layer": site.layer, "head": site.head, "position": site.position}


def _slope_columns(result: SteerResult) -> dict[str, Any]:
    """Return the columns of a table with a row per site: its slope next to 0 and the line through its response."""
    rows, discoveries = [], result.initial.discoveries
    for index, (step, response) in enumerate(zip(result.steps, result.responses, strict=True)):
        row = _site(step) | {"added_norm": step.norm, "site_norm": step.site_norm}
        row |= {"p_value": discoveries.p_value[index], "p_adjusted": discoveries.p_adjusted[index]}
        if result.controls is not None:
            row["beyond_random"] = int(index in result.beyond_random)
        is_linear, ends = response.linear.is_linear, response.linear_scales[[0, -1]]
        row |= dict(zip(("linear_from", "linear_to"), ends if is_linear else (np.nan, np.nan), strict=True))
        row |= {"r2": response.linear.r2, "monotone": int(response.is_monotone) if is_linear else None}
        if result.probe_accuracy is not None:
            row["probe_accuracy"] = result.probe_accuracy.value[index]
        rows.append(row)
    estimates = {"initial_slope": result.initial.slope, "slope": result.slopes, "efficiency": result.efficiency}
    columns = {name: column for name, column in tidy_columns(rows, estimates).items() if name != "scale"}
    if None in columns["monotone"]:
        columns["monotone"] = np.array(columns["monotone"], dtype=float)
    return columns


def _random_slope_columns(result: SteerResult, controls: Controls) -> dict[str, Any]:
    """Return the columns of a table with a row per random direction and site: the slope next to 0."""
    n_random, sites = len(controls.slopes), [_site(step) for step in result.steps]
    columns: dict[str, Any] = {name: n_random * [site[name] for site in sites] for name in sites[0]}
    columns["direction"] = [f"random {index}" for index in range(n_random) for _ in sites]
    columns["initial_slope"] = np.concatenate(controls.slopes)
    return columns


def _readout(result: SteerResult) -> Readout:
    """Return what was read in each row of the table."""
    parts = [result.steered, *([] if result.controls is None else [result.controls.readout])]
    columns = {name: [getattr(part, name) for part in parts] for name in ("logit_diff", "p_answer", "p_distractor")}
    return Readout(**{name: np.concatenate(each) for name, each in columns.items() if each[0] is not None})


def _files(result: SteerResult, task: str) -> dict[str, bytes]:
    clean, corrupted = (pass_.logit_diff[0] for pass_ in (result.baselines.clean, result.baselines.corrupted))
    files = {"slopes.csv": csv_bytes(_slope_columns(result))}
    files |= per_prompt_file(_readout(result), clean, corrupted)
    if (controls := result.controls) is not None:
        files["random_slopes.csv"] = csv_bytes(_random_slope_columns(result, controls))
    vectors = {step.site: step.vector for step in result.steps if step.vector is not None}
    if vectors:  # else each prompt has its own
        source, contrast = result.source, result.contrast
        files["vectors.safetensors"] = vector_file(
            vectors,
            {step.site: step.site_norm for step in result.steps},
            result.origin,
            task=task,
            method=source.method,
            contrast=source.contrast,
            names=source.names,
            seed=source.seed,
            training=contrast.training,
            names_differ=contrast.names_differ,
        )
    return files


def _metrics(result: SteerResult) -> dict[str, float]:
    """Return the baselines, all metrics of the best site at its strongest scale, and its controls."""
    best, response = result.steps[result.best], result.responses[result.best]
    metrics = result.baselines.metrics() | {
        "n_training_prompts": len(result.contrast.training),
        "n_dropped_prompts": result.contrast.n_dropped,
        "names_differ": int(result.contrast.names_differ),
        "n_edits": len(result.steps) * len(result.scales),
        "steers": int(result.verdict.is_steered),
        "best_layer": best.site.layer,
    }
    if best.site.head is not None:
        metrics["best_head"] = best.site.head
    metrics |= scalars("best_initial_slope", result.initial.slope, result.best)
    metrics |= scalars("best_slope", result.slopes, result.best)
    metrics |= scalars("best_efficiency", result.efficiency, result.best)
    if response.linear.is_linear:
        metrics |= {
            "best_linear_from": response.linear_scales[0],
            "best_linear_to": response.linear_scales[-1],
            "best_monotone": int(response.is_monotone),
        }
    if result.initial.discoveries.is_known:
        metrics |= {
            "n_found": len(result.found),
            "best_p_adjusted": float(result.initial.discoveries.p_adjusted[result.best]),
        }
    metrics |= {
        "best_has_linear_range": int(response.linear.is_linear),
        "best_vector_norm": best.norm,
        "best_site_norm": best.site_norm,
        "best_scale": result.scales[result.strongest],
    }
    if np.isfinite(response.linear.r2):
        metrics["best_r2"] = response.linear.r2
    for name, estimate in result.estimates.items():
        metrics |= scalars(f"best_{name}", estimate, result.strongest_row)
    metrics |= {f"best_flipped_{side}": share for side, share in result.flipped_by_side.items()}
    if result.probe_accuracy is not None:
        metrics["best_probe_accuracy"] = float(result.probe_accuracy.value[result.best])
    return metrics | _control_metrics(result) | _text_metrics(result)


def _control_metrics(result: SteerResult) -> dict[str, float]:
    controls, scale = result.controls, result.strongest
    if controls is None:
        return {}
    return {
        "n_controls": len(controls.means),
        "control_band_low": float(controls.low[scale]),
        "control_band_high": float(controls.high[scale]),
        "control_logit_diff_lowest": float(controls.lowest[scale]),
        "control_logit_diff_highest": float(controls.highest[scale]),
        "control_flipped_highest": float(controls.highest_flipped[scale]),
        "controls_inside_band": controls.share_inside,
        "best_outside_band": int(result.is_outside_band),
        "control_steepest_highest": float(controls.steepest.max()),
        "control_steepest_limit": controls.steepest_limit,
        "n_beyond_random": len(result.beyond_random),
    }


def _text_metrics(result: SteerResult) -> dict[str, float]:
    if (text := result.text) is None:
        return {}
    metrics = {"text_loss": text.loss}
    for name, estimate in text.estimates.items():  # the best site is the first
        metrics |= scalars(f"best_{name}", estimate, result.strongest)
    return metrics
