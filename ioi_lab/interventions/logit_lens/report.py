"""The report of a lens: a row per pass, site and position, the likeliest tokens, and where the answer leads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ioi_lab.interventions.logit_lens.figures import lens_figures, site_name
from ioi_lab.interventions.logit_lens.measure import PASSES, LogitLensResult
from ioi_lab.interventions.logit_lens.texts import with_texts
from ioi_lab.reports.charts import Curves
from ioi_lab.reports.report import Report, ReportContext, scalars, tidy_table
from ioi_lab.reports.wording import counted, interval
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.storage.tables import csv_bytes

if TYPE_CHECKING:
    import pandas as pd

    from ioi_lab.engine.edits import Site
    from ioi_lab.lenses.base import TrainingCurve

SUMMARY_ROWS: Final = 8
SUMMARY_METRICS: Final = ("logit_diff", "p_answer", "rank_answer")


def lens_report(result: LogitLensResult, context: ReportContext, title: str) -> Report:
    """Return the report of a lens that is called `title` in sentences and figures."""
    report = Report(
        table=_table(result),
        metrics=_metrics(result),
        draw=partial(lens_figures, result, context, title),
        summary=_summary(result, title),
        files={"top_tokens.csv": _csv(_top_tokens(result))}
        | ({} if result.training is None else {"training.csv": _csv(_training_table(result.training, result.sites))})
        | result.files,
        charts=[
            Curves(f"{name}_by_layer", "layer", name, ("position",), {"run": "clean", "component": "resid_post"})
            for name in ("logit_diff", "p_answer")
        ],
    )
    return with_texts(report, result, context, title, _lead_line(result))


def _table(result: LogitLensResult) -> pd.DataFrame:
    selectors = [
        {"component": site.component, "layer": site.layer, "position": position, "run": which}
        for which in PASSES
        for site in result.sites
        for position in result.positions
    ]
    names = result.estimates["clean"]
    estimates = {name: Estimate.joined([result.estimates[which][name] for which in PASSES]) for name in names}
    table = tidy_table(selectors, estimates)
    return table.assign(p_value=result.discoveries.p_value, p_adjusted=result.discoveries.p_adjusted)


def _metrics(result: LogitLensResult) -> dict[str, float]:
    """Return the baselines, the layer from which on the answer leads at END in the clean pass, and the lens's quality.

    Layers are −1 if the answer leads from the embedding on.
    """
    metrics = result.baselines.metrics() | {"n_cells": 2 * len(result.sites) * len(result.positions)}
    for name, site in (("leads", result.leads_from), ("surely_leads", result.surely_leads_from)):
        if site is not None:
            metrics[f"answer_{name}_from_layer"] = -1 if site.component == "resid_pre" else site.layer
    if result.held_out is not None:
        for name, mean in result.held_out.mean.items():
            metrics |= scalars(f"held_out_kl_{name}", mean)
        metrics["text_tokens"] = result.held_out.n_tokens
    if (curve := result.training) is not None:
        metrics |= {"training_steps": int(curve.steps[-1]), "training_kept_step": int(curve.steps[curve.kept])}
        metrics["training_converged"] = float(curve.has_converged)
    return metrics


def _summary(result: LogitLensResult, title: str) -> list[str]:
    name = result.prompts.position_name(result.main_position)
    columns = [result.at("clean", metric, result.main_position).value for metric in SUMMARY_METRICS]
    lines = [f"the {title} at {name}, clean prompts:", "  after      logit diff   P(answer)   rank"]
    for index in _spread(len(result.sites), SUMMARY_ROWS):
        logit_diff, p_answer, rank = (column[index] for column in columns)
        lines.append(f"  {site_name(result.sites[index]):<8} {logit_diff:12.2f} {p_answer:11.3f} {rank:6.0f}")
    lines.append(_lead_line(result))
    if result.training is not None:
        lines += _training_lines(result.training)
    if result.held_out is not None:
        plain, tuned = (interval(result.held_out.mean[lens], form=".3f") for lens in ("plain", "tuned"))
        lines.append(f"KL to the model's output on held-out text, mean over layers: {plain} plain, {tuned} tuned")
    return lines


def _lead_line(result: LogitLensResult) -> str:
    """Return where the answer leads, on average and beyond doubt."""
    if result.leads_from is None:
        return "the answer does not lead the distractor after the last layer"
    line = f"on average, the answer leads the distractor from {_place(result.leads_from)} on"
    if not result.estimates["clean"]["logit_diff"].has_bounds:
        return line
    if result.surely_leads_from is None:
        return f"{line}, but not with the whole 95 % interval after the last layer"
    surely = "" if result.surely_leads_from == result.leads_from else f" from {_place(result.surely_leads_from)} on"
    return f"{line}, with the whole 95 % interval{surely}"


def _place(site: Site) -> str:
    """Return a site in a sentence: `the embedding`, `layer 3`, or `the attention of layer 3`."""
    other = {"resid_pre": "the embedding", "resid_mid": f"the attention of layer {site.layer}"}
    return other.get(site.component, f"layer {site.layer}")


def _training_lines(curve: TrainingCurve) -> list[str]:
    """Return when training ended and what is kept, with a warning if it ended at its maximum."""
    steps = counted(int(curve.steps[-1]), "step")
    lines = [
        f"trained for {steps}; the translators after step {curve.steps[curve.kept]}, with the lowest KL on the text "
        "for stopping, are kept"
    ]
    if not curve.has_converged:
        lines.append(
            f"warning: training ended at its maximum of {steps}, before this KL had stopped falling; with more "
            "(intervention.lens.steps) the lens may come closer to the model"
        )
    return lines


def _training_table(curve: TrainingCurve, sites: Sequence[Site]) -> pd.DataFrame:
    """Return the KL at each evaluation: the mean over sites, and that of each site."""
    import pandas as pd

    columns: dict[str, Any] = {"step": curve.steps, "kept": np.arange(len(curve.steps)) == curve.kept, "kl": curve.mean}
    by_site = zip(sites[:-1], curve.kl.T, strict=True)
    return pd.DataFrame(columns | {f"kl_{site.component}.{site.layer}": values for site, values in by_site})


def _top_tokens(result: LogitLensResult) -> pd.DataFrame:
    """Return the likeliest tokens of the prompt that is shown, one row per token."""
    import pandas as pd

    rows = [
        {
            "run": which,
            "component": site.component,
            "layer": site.layer,
            "position": position,
            "prompt_token": token,
            "rank": rank + 1,
            "token": text,
            "probability": shown.top.probabilities[index, position, rank],
        }
        for which, shown in result.shown.passes.items()
        for index, site in enumerate(result.sites)
        for position, token in enumerate(shown.tokens)
        for rank, text in enumerate(shown.texts[index][position])
    ]
    return pd.DataFrame(rows)


def _csv(table: pd.DataFrame) -> bytes:
    return csv_bytes(table)


def _spread(size: int, count: int) -> list[int]:
    """Return up to `count` indices below `size`, evenly spread, the first and the last among them."""
    return sorted({round(float(index)) for index in np.linspace(0, size - 1, min(size, count))})
