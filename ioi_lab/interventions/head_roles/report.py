"""The report of head roles: a row per head, the circuit as a diagram, and the name movers against random heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.interventions.head_roles.measure import HeadRolesResult
from ioi_lab.interventions.head_roles.name_movers import Control, NameMoverAblation
from ioi_lab.lenses.roles import NAME_MOVER, ROLES, S_INHIBITION
from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots
from ioi_lab.reports.report import Report, ReportContext, scalars, tidy_table
from ioi_lab.reports.wording import counted, interval
from ioi_lab.stats.bootstrap import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_SCORES: Final[Mapping[str, tuple[str, ...]]] = {
    "previous token": ("previous_token_random", "previous_token_task"),
    "duplicate token": ("duplicate_token_random", "duplicate_token_task"),
    "induction": ("induction_random", "induction_task"),
    S_INHIBITION: ("end_to_s2", "query_effect"),
    "negative name mover": ("end_to_io", "end_to_s2", "negative_copying", "direct_answer", "direct_distractor"),
    NAME_MOVER: ("end_to_io", "copying", "direct_answer"),
    "backup name mover": ("ablation_change",),
}
"""The scores that are printed with the heads of each role."""

COLOURS: Final = dict(
    zip(ROLES, ("#cfe8f3", "#fde0c5", "#e3d4ef", "#fbf3b4", "#f6c9c9", "#cdebc5", "#e8e8e8"), strict=True)
)
CONTROL_TEXTS: Final = {
    "roleless": "random heads of the same layers without a role",
    "others": "random other heads of the same layers",
}
BAR_TEXTS: Final = {"roleless": "random heads\nwithout a role", "others": "random other\nheads"}


def report_head_roles(result: HeadRolesResult, context: ReportContext) -> Report:
    """Return the whole report."""
    selectors = [
        {"component": "z", "layer": head[0], "head": head[1], "roles": "; ".join(result.roles_of(head))}
        for head in result.heads
    ]
    return Report(
        table=tidy_table(selectors, result.scores),
        metrics=_metrics(result),
        draw=lambda: _figures(result, context.data_title(len(result.baselines.prompts))),
        summary=_summary(result),
    )


def _metrics(result: HeadRolesResult) -> dict[str, float]:
    metrics = result.baselines.metrics()
    metrics |= {f"n_{role.replace(' ', '_')}": len(heads) for role, heads in result.roles.items()}
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
    return metrics


def _summary(result: HeadRolesResult) -> list[str]:
    lines = ["roles, with the scores that they rest on:"]
    for role, heads in result.roles.items():
        lines.append(f"  {role}: " + ("none" if not heads else ""))
        for head in heads:
            scores = ", ".join(f"{name} {result.score(name, head):.2f}" for name in SHOWN_SCORES[role])
            lines.append(f"    {head_name(head):<6} {scores}")
    if result.strong_without_role:
        heads_with_share = ", ".join(
            f"{head_name(head)} ({result.score('direct_logit_diff', head):.2f})" for head in result.strong_without_role
        )
        lines.append(f"strong without a role (share of the logit difference written directly): {heads_with_share}")
    if result.ablation is None:
        return [*lines, "no name movers, so none were ablated"]
    return lines + _ablation_lines(result.ablation, ", ".join(map(head_name, result.roles[NAME_MOVER])))


def _ablation_lines(ablation: NameMoverAblation, movers: str) -> list[str]:
    lines = [
        "change of the logit difference when heads get another prompt's output at END:",
        f"  name movers ({movers}): {interval(ablation.change)}",
    ]
    for name, control in ablation.controls.items():
        change = "there are none" if control.effect is None else interval(control.effect.change)
        lines.append(f"  {_control_text(name, control)}: {change}")
    for name, control in ablation.controls.items():
        if control.effect is not None:
            difference = interval(control.effect.name_movers_minus_change)
            lines.append(f"  name movers minus {_control_text(name, control)}: {difference}")
    return lines


def _control_text(name: str, control: Control) -> str:
    size = f"{counted(len(control.sets), 'set')} of {control.n_heads}" if control.sets else "no set"
    return f"{CONTROL_TEXTS[name]} ({size})"


def _figures(result: HeadRolesResult, data_title: str) -> dict[str, Figure]:
    figures = {"circuit": _diagram(result, data_title), "name_movers": _scatter(result, data_title)}
    if result.ablation is not None:
        figures["ablation"] = _ablation_bars(result.ablation, data_title)
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
    """Draw Figure 3c of Wang et al.: the attention to IO against the direct effect on it."""
    return plots.scatter(
        result.scores["end_to_io"].value,
        np.nan_to_num(result.scores["direct_answer"].value),
        [head_name(head) for head in result.heads],
        x_label="attention from END to IO",
        y_label="direct effect on the answer's logit\n(share of that logit over the mean logit)",
        title=f"Who moves the name\n{data_title}",
    )


def _ablation_bars(ablation: NameMoverAblation, data_title: str) -> Figure:
    bars = {"name movers": ablation.change} | {
        BAR_TEXTS[name]: control.effect.change
        for name, control in ablation.controls.items()
        if control.effect is not None
    }
    changes = Estimate.joined(list(bars.values()))
    return plots.ranked_bars(
        plots.Axis("resampled at END", list(bars)),
        changes.value,
        changes.low,
        changes.high,
        value_label="change of the logit difference",
        title=f"Name movers against heads of the same layers\n{data_title}",
    )
