"""The figures of the paper's experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ioi_lab.interventions.grid_report import GridReport
from ioi_lab.interventions.grid_result import GridTitle
from ioi_lab.interventions.head_roles.measure import ALL
from ioi_lab.interventions.head_roles.report import report_head_roles
from ioi_lab.interventions.wang2022.measure import CircuitResult, Paths, Wang2022Result
from ioi_lab.lenses.roles import NAME_MOVER
from ioi_lab.models.heads import head_name
from ioi_lab.reports import plots
from ioi_lab.reports.report import ReportContext
from ioi_lab.reports.wording import plain
from ioi_lab.stats.bootstrap import Over

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PATTERNS = ("previous_token", "duplicate_token", "induction")


def figures_of(result: Wang2022Result, context: ReportContext) -> dict[str, Figure]:
    """Return all figures by name."""
    data_title = context.data_title(len(result.baselines.prompts))
    figures = {
        "movement": _movement(result, data_title),
        "patterns": _patterns(result, context.model),
        **{paths_name(number): _paths(paths, context) for number, paths in enumerate(result.paths)},
        **report_head_roles(result.roles, context).draw(),
    }
    if result.circuit is not None:
        figures["completeness"] = _completeness(result.circuit, data_title)
        figures["minimality"] = _minimality(result.circuit, data_title, context.over)
    return figures


def paths_name(number: int) -> str:
    """Return the name of the map of the paths with this number."""
    return f"paths_{number}"


def grid_title(paths: Paths) -> GridTitle:
    """Return what the title of a map of paths says."""
    details = f"direct paths into the {paths.into} with free MLPs\nnoise: corrupted → clean"
    return GridTitle(
        "Path patching",
        "z",
        details,
        "clean",
        "each",
        definition={"receiver": paths.into, "mlps": "free"},
        how=f"their output on the corrupted prompt reaches the {paths.into} alone, in the clean one",
    )


def _paths(paths: Paths, context: ReportContext) -> Figure:
    figures = GridReport(paths.effects, grid_title(paths), context).figures()
    return figures["recovery_by_head"]


def _movement(result: Wang2022Result, data_title: str) -> Figure:
    """Draw figure 3c of the paper: each prompt twice, by IO and by S."""
    are_movers = bool(result.roles.roles[NAME_MOVER])
    what = "Name movers" if are_movers else "No name movers: the heads with the largest direct effects"
    panels = {
        head_name(movement.head): {"IO": (movement.to_io, movement.on_io), "S": (movement.to_s, movement.on_s)}
        for movement in result.movements
    }
    return plots.grouped_scatter(
        panels,
        "attention from END to the name",
        "direct effect on the name's logit\n(over the mean logit)",
        f"{what}, a point per prompt and name\n{data_title}",
    )


def _patterns(result: Wang2022Result, model: str) -> Figure:
    """Draw the attention on repeated random tokens by which the early roles are assigned."""
    layers = max(layer for layer, _ in result.roles.heads) + 1
    panels = []
    for name in PATTERNS:
        values = result.roles.scores[ALL][f"{name}_random"].value.reshape(layers, -1)
        rows, columns = (
            plots.Axis.numbered(label, size) for label, size in zip(("layer", "head"), values.shape, strict=True)
        )
        panels.append(plots.Panel(plain(name), values, rows, columns))
    title = f"Attention on repeated random tokens\n{model}"
    return plots.share_maps(panels, title, "mean attention weight", per_row=3)


def _completeness(circuit: CircuitResult, data_title: str) -> Figure:
    """Draw figure 7 of the paper: F(C∖K) against F(M∖K)."""
    groups = {}
    for kind, label in (("class", "heads of a role"), ("random", "random"), ("greedy", "greedy")):
        sets = [each for each in circuit.completeness if each.kind == kind]
        values = [[getattr(each, part).value[0] for each in sets] for part in ("model", "circuit")]
        groups[label] = (np.array(values[0]), np.array(values[1]))
    return plots.grouped_scatter(
        {"": groups},
        "F(M∖K): the whole model without K",
        "F(C∖K): the circuit without K",
        f"Completeness: logit difference without subsets K of the circuit\n{data_title}",
        line="complete",
    )


def _minimality(circuit: CircuitResult, data_title: str, over: Over) -> Figure:
    needed = sorted(circuit.minimality, key=lambda each: -abs(each.change.value[0]))
    names = [f"{each.head.name}, K: {each.without}" for each in needed]
    values, low, high = ([getattr(each.change, part)[0] for each in needed] for part in ("value", "low", "high"))
    return plots.ranked_bars(
        plots.Axis("head v", names),
        np.array(values),
        np.array(low),
        np.array(high),
        value_label="F(C∖(K ∪ {v})) − F(C∖K)",
        title=f"Minimality: what each head v changes in the circuit C\nK: no head, or the other heads of a role, "
        f"whichever gives the largest change\n{data_title}",
        pale=np.array([not each.is_found for each in needed]),
        over=over,
    )
