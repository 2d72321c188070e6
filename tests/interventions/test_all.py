"""Duties of every intervention: its self-checks stand in the metrics, and its config is checked without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.reports import plots
from ioi_lab.reports.plots import png
from ioi_lab.runs.pages import page_of
from tests.conftest import only_run_folder
from tests.reports.checks import check_texts

ONE_PIXEL = png(Figure((0.1, 0.1)))
INTERVENTIONS = sorted(path.stem for path in (CONFIG_FOLDER / "intervention").glob("*.yaml"))
SMALL = {
    "circuit_tests": [
        "intervention.scores=eap", "intervention.size=10", "intervention.controls=20", "intervention.max_edges=1",
        "intervention.added_edges=5", "intervention.resamples=2", "intervention.random_sets=1",
        "intervention.greedy_steps=0", "intervention.max_pairs=1",
    ],
    "attribution_patch": ["intervention.layer=[0,1]"],
    "cross_task": [
        "task.corruption=swap", "intervention.others=[ioi]", "intervention.scores=eap", "intervention.size=20",
        "intervention.n=12",
    ],
    "path_patch": ["intervention.layer=[0,1]"],
    "steer": ["intervention.layer=[1,2]", "intervention.scale=[-1,1]", "intervention.side_effects=0"],
    "transfer": [
        "intervention.corpus.n=60", "intervention.alignment.source_layers=[3]",
        "intervention.alignment.target_layers=[3]", "intervention.scale=[-1,1]", "intervention.controls=5",
        "intervention.unrelated=39",
    ],
    "head_roles": ["intervention.repeats=8", "intervention.n_reference=2", "task.n=16"],
    "knockout": ["intervention.head=[2.0@END]", "intervention.n_reference=2"],
    "wang2022": [
        "intervention.repeats=8", "intervention.n_reference=2", "intervention.random_sets=2",
        "intervention.greedy_steps=1", "task.n=16",
    ],
}  # fmt: skip
"""Overrides that make a run short."""


SLOW = ("circuit", "circuit_tests", "cross_task", "transfer", "wang2022")
"""Interventions that take four seconds or more."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in SLOW else []) for name in INTERVENTIONS]
)
def test_the_self_checks_are_in_the_metrics_and_each_figure_has_a_caption(sweep, tmp_path, monkeypatch, name):
    monkeypatch.setattr(plots, "image", lambda figure, kind: ONE_PIXEL)  # most of the time of drawing
    outcome = sweep("tracker=none", "task.n=12", f"intervention={name}", *SMALL.get(name, []))
    assert outcome.code == 0, outcome.err
    check_texts(page_of(only_run_folder(tmp_path)))
    metrics = json.loads((only_run_folder(tmp_path) / "metrics.json").read_text())
    assert metrics["check_everything"] == pytest.approx(1, abs=1e-3)
    assert metrics["check_nothing"] == pytest.approx(0, abs=1e-3)


def test_configs_are_checked_without_heavy_imports():
    """A typo is reported in two seconds: no config class needs torch, pandas or matplotlib."""
    targets = [OmegaConf.load(path).get("_target_") for path in sorted(CONFIG_FOLDER.glob("*/*.yaml"))]
    own = sorted({target for target in targets if target and target.startswith("ioi_lab.")})
    heavy = ("torch", "transformers", "transformer_lens", "pandas", "matplotlib", "sklearn", "datasets")
    code = f"""
import pkgutil, sys
for target in {own!r}: pkgutil.resolve_name(target)
import ioi_lab.jobs.experiment, ioi_lab.jobs.alignment, ioi_lab.cli.command
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
