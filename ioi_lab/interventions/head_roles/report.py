"""The report of head roles: a row per head and order, the circuit as a diagram, and the name movers' knockout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.interventions.head_roles.measure import ALL, HeadRolesResult
from ioi_lab.interventions.head_roles.name_movers import MIN_CONTROLS, NameMoverAblation, QueryControl
from ioi_lab.interventions.head_roles.texts import with_texts
from ioi_lab.lenses.roles import NAME_MOVER, ORDERS, ROLES, S_INHIBITION, SUBJECT_SUPPRESSOR, Head
from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots
from ioi_lab.reports.report import Report, ReportContext, scalars, tidy_table
from ioi_lab.reports.wording import counted, interval
from ioi_lab.stats.bootstrap import Estimate, Over

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_SCORES: Final[Mapping[str, tuple[str, ...]]] = {
    "previous token": ("previous_token_random", "previous_token_task"),
    "duplicate token": ("duplicate_token_random", "duplicate_token_task"),
    "induction": ("induction_random", "induction_task"),
    S_INHIBITION: ("end_to_s2", "query_effect"),
    "negative name mover": ("end_to_io", "end_to_s", "negative_copying", "direct_logit_diff"),
    SUBJECT_SUPPRESSOR: ("end_to_io", "end_to_s", "negative_copying_s2", "direct_distractor", "direct_logit_diff"),
    NAME_MOVER: ("end_to_io", "end_to_s", "copying", "direct_logit_diff"),
    "backup name mover": ("copying", "direct_logit_diff", "direct_after_ablation"),
}
"""The scores that are printed with the heads of each role."""

STRONG_SCORES: Final = ("direct_logit_diff", "end_to_io", "end_to_s1", "end_to_s2")
"""The scores that are printed with strong heads without a role."""

MAX_STRONG: Final = 8
"""The greatest number of strong heads without a role that are printed."""

COLOURS: Final = dict(
    zip(ROLES, ("#cfe8f3", "#fde0c5", "#e3d4ef", "#fbf3b4", "#f6c9c9", "#f5d7ee", "#cdebc5", "#e8e8e8"), strict=True)
)
CONTROL_TEXTS: Final = {
    "roleless": "random heads of the same layers without a role",
    "others": "random other heads of the same layers",
}
BAR_TEXTS: Final = {"roleless": "random heads\nwithout a role", "others": "random other\nheads"}


def report_head_roles(result: HeadRolesResult, context: ReportContext) -> Report:
    """Return the whole report."""
    selectors = [
        {
            "component": "z",
            "layer": layer,
            "head": head,
            "order": order,
            "roles": "; ".join(result.roles_of((layer, head))),
        }
        for order in result.scores
        for layer, head in result.heads
    ]
    scores = {
        name: Estimate.joined([in_order[name] for in_order in result.scores.values()]) for name in result.scores[ALL]
    }
    report = Report(
        table=tidy_table(selectors, scores),
        metrics=_metrics(result),
        draw=lambda: _figures(result, context),
        summary=_summary(result),
    )
    return with_texts(report, result, context, _knockout_line(result))


def _metrics(result: HeadRolesResult) -> dict[str, float]:
    metrics = result.baselines.metrics()
    metrics |= {f"n_{role.replace(' ', '_')}": len(heads) for role, heads in result.roles.items()}
    if (control := result.query_control) is not None:
        metrics["n_query_controls"] = len(control.heads)
        metrics |= {} if control.bound is None else {"query_bound": control.bound}
    return metrics if result.ablation is None else metrics | _ablation_metrics(result.ablation)


def _ablation_metrics(ablation: NameMoverAblation) -> dict[str, float]:
    effects = {name: control.effect for name, control in ablation.controls.items() if control.effect is not None}
    metrics = scalars("name_movers_change", ablation.change)
    for name, effect in effects.items():
        metrics |= scalars(f"{name}_change", effect.change)
    for name, effect in effects.items():
        metrics |= scalars(f"name_movers_minus_{name}", effect.name_movers_minus_change)
    for name, control in ablation.controls.items():
        metrics[f"n_sets_{name}"] = len(control.sets)
        if control.effect is not None:
            metrics[f"n_heads_{name}"] = control.n_heads
            metrics[f"{name}_lowest_change"] = control.effect.lowest_change
            metrics[f"{name}_highest_change"] = control.effect.highest_change
            metrics[f"{name}_p_value"] = control.effect.p_value
    return metrics


def _summary(result: HeadRolesResult) -> list[str]:
    lines = [
        "roles, with scores in ABBA | BABA prompts (every score of a role's criterion reaches its threshold in both, "
        "with an interval that excludes 0):"
    ]
    for role, heads in result.roles.items():
        lines.append(f"  {role}: " + ("none" if not heads else ""))
        lines += [f"    {head_name(head):<6} {_shown(result, head, SHOWN_SCORES[role])}" for head in heads]
    lines += _query_control_lines(result.query_control)
    if strong := result.strong_without_role:
        lines.append(
            "heads without a role that write into the logit difference (as a share of it), in ABBA | BABA prompts:"
        )
        lines += [f"    {head_name(head):<6} {_shown(result, head, STRONG_SCORES)}" for head in strong[:MAX_STRONG]]
        lines += [f"    and {len(strong) - MAX_STRONG} more, in results.csv"] if len(strong) > MAX_STRONG else []
    if result.ablation is None:
        return [*lines, "no name movers, so none were knocked out"]
    return lines + _ablation_lines(result.ablation, ", ".join(map(head_name, result.roles[NAME_MOVER])))


def _shown(result: HeadRolesResult, head: Head, names: Sequence[str]) -> str:
    return ", ".join(
        f"{name} " + " | ".join(f"{result.score(name, head, order):.2f}" for order in ORDERS) for name in names
    )


def _query_control_lines(control: QueryControl | None) -> list[str]:
    """What S-inhibition heads were compared with."""
    if control is None:
        return ["no name movers, so that no head can be an S-inhibition head"]
    if control.bound is None:
        return [
            f"too few heads to find S-inhibition: {counted(len(control.heads), 'head')} to compare their paths with, "
            f"{MIN_CONTROLS} are needed"
        ]
    return [
        f"S-inhibition heads need a mean query_effect above the largest of {len(control.heads)} random heads, "
        f"{control.bound:.3f} (path patching as in Wang et al. 2022: MLPs run)"
    ]


def _knockout_line(result: HeadRolesResult) -> str:
    """Return what the knockout of the name movers changes, next to random heads."""
    if (ablation := result.ablation) is None:
        return "There are no name movers, so none were knocked out."
    controls = [
        f"{interval(control.effect.change)} by {CONTROL_TEXTS[name]}"
        for name, control in ablation.controls.items()
        if control.effect is not None
    ]
    compared = f", next to {' and '.join(controls)}" if controls else "; there are too few other heads to compare with"
    return f"Knocking out the name movers at END changes the logit difference by {interval(ablation.change)}{compared}."


def _ablation_lines(ablation: NameMoverAblation, movers: str) -> list[str]:
    lines = [
        "change of the logit difference if heads are knocked out at END (by their mean over ABC prompts):",
        f"  name movers ({movers}): {interval(ablation.change)}",
    ]
    for name, control in ablation.controls.items():
        text = CONTROL_TEXTS[name]
        if control.effect is None:
            n_sets = counted(len(control.sets), "different set")
            lines.append(f"  too few {text} to compare with: {n_sets}, {MIN_CONTROLS} are needed")
            continue
        effect = control.effect
        lines.append(f"  {text} ({counted(len(control.sets), 'set')} of {control.n_heads}): {interval(effect.change)}")
        lines.append(
            f"  name movers minus these: {interval(effect.name_movers_minus_change)}; "
            f"share of sets, the name movers included, with as large a loss: {effect.p_value:.3f}"
        )
    return lines


def _figures(result: HeadRolesResult, context: ReportContext) -> dict[str, Figure]:
    data_title = context.data_title(len(result.baselines.prompts))
    figures = {"circuit": _diagram(result, data_title), "name_movers": _scatter(result, data_title)}
    if result.ablation is not None and any(control.effect for control in result.ablation.controls.values()):
        figures["ablation"] = _ablation_bars(result.ablation, data_title, context.over)
    return figures


def _diagram(result: HeadRolesResult, data_title: str) -> Figure:
    nodes = [plots.Node(head_name(head), head[0], role) for role, heads in result.roles.items() for head in heads]
    effects = [
        plots.Effect(head_name(sender), head_name(mover), result.score("query_effect", sender))
        for sender, mover in result.paths_into_queries
    ]
    effects += [
        plots.Effect(head_name(head), plots.LOGITS, result.score("direct_logit_diff", head)) for head in result.writers
    ]
    caption = (
        "arrows into the logits: direct effect, as a share of the logit difference (blue raises, red lowers it)\n"
        "arrows into name movers: share of the clean − corrupted gap that their queries together get from the head"
    )
    return plots.circuit(nodes, effects, COLOURS, f"Heads by role and layer\n{data_title}", caption)


def _scatter(result: HeadRolesResult, data_title: str) -> Figure:
    """Draw Figure 3c of Wang et al. in either order: the attention to IO against the direct effect."""
    return plots.scatter_panels(
        {
            f"{order.upper()}: {first} is named first": (
                result.scores[order]["end_to_io"].value,
                np.nan_to_num(result.scores[order]["direct_logit_diff"].value),
            )
            for order, first in zip(ORDERS, ("IO", "S"), strict=True)
        },
        [head_name(head) for head in result.heads],
        x_label="attention from END to IO",
        y_label="direct effect on the logit difference\n(share of it)",
        title=f"Who moves the name\n{data_title}",
    )


def _ablation_bars(ablation: NameMoverAblation, data_title: str, over: Over) -> Figure:
    bars = {"name movers": ablation.change} | {
        BAR_TEXTS[name]: control.effect.change
        for name, control in ablation.controls.items()
        if control.effect is not None
    }
    changes = Estimate.joined(list(bars.values()))
    return plots.ranked_bars(
        plots.Axis("knocked out at END", list(bars)),
        changes.value,
        changes.low,
        changes.high,
        value_label="change of the logit difference",
        title=f"Name movers against heads of the same layers\n{data_title}",
        over=over,
    )
