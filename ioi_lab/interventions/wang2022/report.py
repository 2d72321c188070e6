"""The report of the paper's experiments: paths in `results.csv`, roles and subsets in tables of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ioi_lab.interventions.grid_report import GridReport
from ioi_lab.interventions.head_roles.report import report_head_roles
from ioi_lab.interventions.wang2022.figures import figures_of, grid_title
from ioi_lab.interventions.wang2022.measure import CircuitResult, Wang2022Result
from ioi_lab.interventions.wang2022.texts import with_texts
from ioi_lab.reports.report import Report, ReportContext, scalars
from ioi_lab.reports.wording import counted, interval
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.storage.tables import csv_bytes

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED: Final = {
    "gpt2-small": {"logit difference": 3.56, "IO > S": 0.993, "P(IO)": 0.49, "heads": 26.0, "F(C) / F(M)": 0.87}
}
"""The numbers of Wang et al. 2022 (arXiv 2211.00593) by the name of the model."""


def report_wang2022(result: Wang2022Result, context: ReportContext) -> Report:
    """Return the whole report."""
    import pandas as pd

    roles = report_head_roles(result.roles, context)
    grids = [GridReport(paths.effects, grid_title(paths), context).report() for paths in result.paths]
    files = {"roles.csv": csv_bytes(roles.table)}
    metrics = roles.metrics
    if result.circuit is not None:
        files |= {"completeness.csv": csv_bytes(_completeness_table(result.circuit))}
        files |= {"minimality.csv": csv_bytes(_minimality_table(result.circuit))}
        metrics |= _circuit_metrics(result.circuit)
    summary = _published_lines(result, context.model) + roles.summary
    for paths, grid in zip(result.paths, grids, strict=True):
        summary += [f"paths into the {paths.into}, with free MLPs:", *(f"  {line}" for line in grid.summary)]
    report = Report(
        table=pd.concat([pd.DataFrame(grid.table) for grid in grids], ignore_index=True),
        metrics=metrics,
        draw=lambda: figures_of(result, context),
        summary=[*summary, *_circuit_lines(result.circuit, context.model)],
        files=files,
        headline="clean_logit_diff" if result.circuit is None else "circuit_share",
    )
    return with_texts(report, result, context, roles, grids)


def _completeness_table(circuit: CircuitResult) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {"kind": each.kind, "label": each.label, "heads": " ".join(head.name for head in each.heads)}
        | _columns({"circuit": each.circuit, "model": each.model, "difference": each.difference})
        for each in circuit.completeness
    ]
    return pd.DataFrame(rows)


def _minimality_table(circuit: CircuitResult) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {"head": each.head.name, "without": each.without, "found": each.is_found} | _columns({"change": each.change})
        for each in circuit.minimality
    ]
    return pd.DataFrame(rows)


def _columns(estimates: dict[str, Estimate]) -> dict[str, float]:
    columns: dict[str, float] = {}
    for name, estimate in estimates.items():
        columns |= {name: estimate.value[0], f"{name}_low": estimate.low[0], f"{name}_high": estimate.high[0]}
    return columns


def _circuit_metrics(circuit: CircuitResult) -> dict[str, float]:
    metrics: dict[str, float] = {"circuit_n_heads": _n_heads(circuit)}
    if len(circuit.random):
        metrics |= {"random_circuits_lowest": float(circuit.random.min())}
        metrics |= {"random_circuits_highest": float(circuit.random.max())}
        metrics |= {"n_random_circuits": len(circuit.random), "n_random_circuits_below": circuit.n_random_below}
    for name in ("alone", "share", "difference", "nothing"):
        metrics |= scalars(f"circuit_{name}", getattr(circuit, name))
    for kind in ("class", "random", "greedy"):
        differences = [abs(each.difference.value[0]) for each in circuit.completeness if each.kind == kind]
        metrics |= {f"incompleteness_{kind}": float(max(differences))} if differences else {}
    metrics["least_minimality"] = float(min(abs(each.change.value[0]) for each in circuit.minimality))
    return metrics


def _published_lines(result: Wang2022Result, model: str) -> list[str]:
    """Return the paper's measures of the behaviour, next to its numbers for a model that it is about."""
    clean = result.baselines.estimates["clean"]
    measured = {"logit difference": clean["logit_diff"], "IO > S": clean["accuracy"]}
    measured |= {"P(IO)": clean["p_answer"]} if "p_answer" in clean else {}
    return [f"{name}: {interval(estimate)}{_published(name, model)}" for name, estimate in measured.items()]


def _published(name: str, model: str) -> str:
    published = PUBLISHED.get(model, {})
    return f" (Wang et al. 2022: {published[name]:g})" if name in published else ""


def _circuit_lines(circuit: CircuitResult | None, model: str) -> list[str]:
    if circuit is None:
        return ["no head has a role, so there is no circuit to evaluate"]
    names, count = " ".join(head.name for head in circuit.heads), counted(_n_heads(circuit), "head")
    return [
        f"circuit of the {count} with a role{_published('heads', model)}, found on the same prompts: {names}",
        f"  with all heads knocked out: F(∅) = {interval(circuit.nothing)}",
        *_random_lines(circuit),
        f"  with all other heads knocked out: F(C) = {interval(circuit.alone)}; the whole model: F(M) = "
        f"{interval(circuit.whole)}",
        f"  F(C) / F(M) = {interval(circuit.share)}{_published('F(C) / F(M)', model)}",
        f"  faithfulness |F(M) − F(C)| = {abs(circuit.difference.value[0]):.2f}, from F(C) − F(M) = "
        f"{interval(circuit.difference)}",
        *_completeness_lines(circuit),
        _minimality_line(circuit),
    ]


def _completeness_lines(circuit: CircuitResult) -> list[str]:
    lines = [
        "  completeness, by the subset K with the largest difference (intervals are not corrected for this choice):"
    ]
    for kind, text in (("class", "role"), ("random", "random subset"), ("greedy", "greedy subset")):
        sets = [each for each in circuit.completeness if each.kind == kind]
        if sets:
            worst = max(sets, key=lambda each: abs(each.difference.value[0]))
            heads = " ".join(head.name for head in worst.heads) or "no head"
            lines.append(
                f"    of {counted(len(sets), text)}: F(C∖K) − F(M∖K) = {interval(worst.difference)}, K = {heads}"
            )
    return lines


def _random_lines(circuit: CircuitResult) -> list[str]:
    if not len(circuit.random):
        return []
    count = counted(len(circuit.random), "other circuit")
    return [
        f"  {count} of as many random heads at the same positions: F from {circuit.random.min():.2f} to "
        f"{circuit.random.max():.2f}, {circuit.n_random_below} of them below F(C)"
    ]


def _n_heads(circuit: CircuitResult) -> int:
    """Return the number of heads, each of which may be in the circuit at several positions."""
    return len({(head.layer, head.head) for head in circuit.heads})


def _minimality_line(circuit: CircuitResult) -> str:
    idle = [each.head.name for each in circuit.minimality if not each.is_found]
    tried = "by the best of the subsets K that were tried, corrected for heads and subsets"
    verdict = f"not shown for {' '.join(idle)}" if idle else "each head changes F(C∖K)"
    return f"  minimality, {tried}: {verdict}"
