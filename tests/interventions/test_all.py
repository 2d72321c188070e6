"""Duties of every intervention: its self-checks stand in the metrics, and its config is checked without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from ioi_lab.config import CONFIG_FOLDER
from tests.conftest import only_run_folder

INTERVENTIONS = sorted(path.stem for path in (CONFIG_FOLDER / "intervention").glob("*.yaml"))
SMALL = {
    "attribution_patch": ["intervention.layer=[0,1]"],
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


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_the_self_checks_are_in_the_metrics(sweep, tmp_path, name):
    outcome = sweep("tracker=none", "figures=false", "task.n=12", f"intervention={name}", *SMALL.get(name, []))
    assert outcome.code == 0, outcome.err
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
