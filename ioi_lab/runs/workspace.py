"""A saved view of a sweep on W&B: lines over numeric keys, parallel coordinates over all keys, the summary's figures.

The view is described as data by `view_of`; only `save` needs the package `wandb-workspaces` and a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.errors import LabError, folded
from ioi_lab.reports.charts import Curves
from ioi_lab.runs.reading import read_config
from ioi_lab.runs.sweeps import Sweep
from ioi_lab.runs.tracking import TrackerConfig, name_of_sweep
from ioi_lab.runs.wandb_log import step_of
from ioi_lab.runs.wandb_mode import logged_in, why_disabled

if TYPE_CHECKING:
    from wandb_workspaces import workspaces

PACKAGE: Final = "wandb-workspaces"


@dataclass(frozen=True)
class LineChart:
    """The lines of a section of metrics over their step."""

    title: str
    step: str
    section: str


@dataclass(frozen=True)
class ParallelCoordinates:
    """An axis per config key, and one for a metric of the summary; a line per run."""

    title: str
    keys: Sequence[str]
    metric: str


@dataclass(frozen=True)
class Figures:
    """Logged images."""

    names: Sequence[str]


Panel = LineChart | ParallelCoordinates | Figures


@dataclass(frozen=True)
class View:
    """A saved view of the runs of a sweep: panels by the title of their section."""

    project: str
    entity: str | None
    """None: the default of the login."""

    group: str
    sections: dict[str, list[Panel]]


def charts_of(sweep: Sweep) -> list[Curves]:
    """Return the curves of a sweep's metric over each swept key of numbers, a line per value of the other keys."""
    if sweep.shown is None:
        return []
    return [
        Curves(
            name=f"{sweep.shown}_by_{key.split('.')[-1]}",
            along=key,
            value=sweep.shown,
            by=tuple(other for other in sweep.swept if other != key),
            only={"status": "done"},
        )
        for key in sweep.swept_numbers
    ]


def view_of(sweep: Sweep, tracker: TrackerConfig, figures: Iterable[str]) -> View:
    """Return the view of a sweep whose summary has these figures; raises a `LabError` if there is nothing to show."""
    if sweep.shown is None or not sweep.swept:
        what = "no run in it is done" if sweep.shown is None else "no key was swept in it"
        raise LabError(f"{str(sweep.folder)!r}: there is no view of this sweep, since {what}")
    metric = sweep.shown
    lines = [LineChart(chart.name.replace("_", " "), step_of(chart), chart.name) for chart in charts_of(sweep)]
    keys = [key if key in sweep.runs else f"{key}.name" for key in sweep.swept]  # `model` is a group with a name
    coordinates = ParallelCoordinates(f"{', '.join(sweep.swept)} → {metric}", keys, metric)
    sections: dict[str, list[Panel]] = {
        metric.replace("_", " "): [*lines, coordinates],
        "figures": [Figures(names)] if (names := sorted(figures)) else [],
    }
    group = name_of_sweep(sweep.folder)
    return View(tracker.project, tracker.entity, group, {title: panels for title, panels in sections.items() if panels})


def save_view_of(folder: Path) -> str:
    """Save the view of the sweep in a folder; returns its address.

    Raises a `LabError` without the package, without a login, for a sweep that was not tracked, and if W&B refuses it.
    """
    sweep = Sweep.read(folder)
    done = sweep.runs[sweep.is_done]
    config = read_config(Path(done["path"].iloc[0])) if len(done) else {}
    tracker = TrackerConfig.from_config(config.get("tracker") or {}, "tracker")
    view = view_of(sweep, tracker, [path.stem for path in (folder / "plots").glob("*.png")])
    if tracker.name == "none":
        raise LabError(f"{str(folder)!r}: this sweep was run with tracker=none, so W&B has no runs of it")
    return save(view)


def save(view: View) -> str:
    """Save a view on the server; returns its address."""
    if (disabled := why_disabled()) is not None:
        raise LabError(f"a workspace needs the W&B server, which {disabled} switches off")
    workspace = as_workspace(view)
    if not logged_in():
        raise LabError("a workspace needs the W&B server; run `wandb login`, and `wandb sync` for offline runs")
    import wandb

    try:
        workspace.entity = view.entity or str(wandb.Api().default_entity)
        workspace.save()
    except Exception as error:  # the package raises errors of many types
        raise LabError(f"W&B did not save the workspace: {folded(error)}") from error
    return str(workspace.url)


def as_workspace(view: View) -> workspaces.Workspace:
    """Return the view as an object of `wandb-workspaces`; raises a `LabError` if that is not installed."""
    try:
        from wandb_workspaces import workspaces
    except ImportError as error:
        raise LabError(f"this command needs {PACKAGE}; install it with pip install 'ioi-lab[workspaces]'") from error
    sections = [
        workspaces.Section(name=title, panels=[_panel(panel) for panel in panels], is_open=True)
        for title, panels in view.sections.items()
    ]
    return workspaces.Workspace(
        name=view.group,
        entity=view.entity or "",
        project=view.project,
        sections=sections,
        runset_settings=workspaces.RunsetSettings(filters=f"Metric('Group') = {view.group!r}"),
        auto_generate_panels=True,
    )


def _panel(panel: Panel) -> Any:
    from wandb_workspaces.reports import v2

    if isinstance(panel, LineChart):
        return v2.LinePlot(title=panel.title, x=panel.step, metric_regex=f"{panel.section}/.*")
    if isinstance(panel, Figures):
        return v2.MediaBrowser(media_keys=list(panel.names))
    columns = [v2.ParallelCoordinatesPlotColumn(metric=v2.Config(key)) for key in panel.keys]
    metric = v2.ParallelCoordinatesPlotColumn(metric=v2.SummaryMetric(panel.metric))
    return v2.ParallelCoordinatesPlot(title=panel.title, columns=[*columns, metric])
