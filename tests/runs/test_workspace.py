from __future__ import annotations

import sys

import pytest

from ioi_lab.errors import LabError
from ioi_lab.runs import workspace
from ioi_lab.runs.sweeps import Sweep
from ioi_lab.runs.tracking import TrackerConfig
from ioi_lab.runs.wandb_log import history
from ioi_lab.runs.workspace import (
    Figures,
    LineChart,
    ParallelCoordinates,
    View,
    as_workspace,
    charts_of,
    save,
    save_view_of,
    view_of,
)

TRACKER = TrackerConfig.from_config({"name": "wandb", "project": "mine", "entity": "us"}, "tracker")


@pytest.fixture
def sweep(leave, tmp_path):
    """Two layers, each with two kinds of direction."""
    for number, (layer, direction) in enumerate([(0, "noise"), (2, "noise"), (0, "mean"), (2, "mean")]):
        typed = {"intervention.layer": layer, "intervention.direction": direction}
        leave(f"heads/now/{number}", typed, best_recovery=layer + number / 8, best_recovery_low=-1.0)
    return Sweep.read(tmp_path / "heads" / "now")


def test_the_view_has_lines_over_numbers_coordinates_over_all_keys_and_the_figures(sweep):
    keys = ["intervention.layer", "intervention.direction"]
    assert view_of(sweep, TRACKER, ["map", "lines"]) == View(
        project="mine",
        entity="us",
        group="heads now",
        sections={
            "best recovery": [
                LineChart("best recovery by layer", "layer", "best_recovery_by_layer"),
                ParallelCoordinates(
                    "intervention.layer, intervention.direction → best_recovery", keys, "best_recovery"
                ),
            ],
            "figures": [Figures(["lines", "map"])],
        },
    )


def test_the_summary_logs_the_lines_that_the_view_shows(sweep):
    table = sweep.table()
    rows = history(charts_of(sweep), {"results": table})
    assert [row["layer"] for row in rows] == [0, 2]
    assert rows[1]["best_recovery_by_layer/mean"] == 2 + 3 / 8
    assert rows[1]["ci/best_recovery_by_layer/noise_low"] == -1.0


def test_a_swept_config_group_is_an_axis_by_its_name(leave, tmp_path):
    for number, model in enumerate(["a", "b"]):
        run = leave(f"models/now/{number}", {"model": model}, best_recovery=1.0)
        config = (run / "config.yaml").read_text().replace(f"model: {model}", f"model: {{name: {model}}}")
        (run / "config.yaml").write_text(config)
    view = view_of(Sweep.read(tmp_path), TRACKER, [])
    ((panels),) = view.sections.values()
    assert [type(panel) for panel in panels] == [ParallelCoordinates]
    assert panels[0].keys == ["model.name"]


def test_what_has_no_view(leave, tmp_path):
    leave("one/now/0", {"intervention.layer": 0}, best_recovery=1.0)
    with pytest.raises(LabError, match="no key was swept"):
        view_of(Sweep.read(tmp_path), TRACKER, [])
    leave("two/now/0", {"intervention.layer": 0}, status="failed", error="no")
    with pytest.raises(LabError, match="no run in it is done"):
        view_of(Sweep.read(tmp_path / "two"), TRACKER, [])


def test_the_package_accepts_the_view(sweep):
    pytest.importorskip("wandb_workspaces")
    made = as_workspace(view_of(sweep, TRACKER, ["map"]))
    assert (made.name, made.entity, made.project) == ("heads now", "us", "mine")
    assert [type(panel).__name__ for panel in made.sections[0].panels] == ["LinePlot", "ParallelCoordinatesPlot"]
    assert "heads now" in str(made.runset_settings.filters)


def test_without_package_login_or_tracker_one_line_says_so(sweep, monkeypatch, leave, tmp_path):
    view = view_of(sweep, TRACKER, [])
    monkeypatch.setattr(workspace, "logged_in", lambda: False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with pytest.raises(LabError, match="run `wandb login`"):
        save(view)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(LabError, match=r"pip install 'ioi-lab\[workspaces\]'"):
        save(view)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(LabError, match="WANDB_MODE=disabled switches off"):
        save(view)
    with pytest.raises(LabError, match="tracker=none"):
        save_view_of(sweep.folder)
