"""Run folders as sweeps leave them, without running anything; and a machine without a W&B login."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import wandb
from omegaconf import OmegaConf

SECRET = "0123456789abcdef0123456789abcdef01234567"
"""The form of a W&B key."""


@pytest.fixture
def leave(tmp_path) -> Callable[..., Path]:
    """`leave("patch/now/0", {"intervention.layer": 3}, best_recovery=0.5)`: a run's folder."""

    def leave(folder: str, typed: dict, status: str = "done", error: str | None = None, **metrics: float) -> Path:
        path = tmp_path / folder
        (path / ".hydra").mkdir(parents=True)
        config = OmegaConf.create(
            {
                "name": "patch",
                "seed": 0,
                "model": {"name": "tiny-gpt2"},
                "task": {"name": "ioi", "n": 32},
                "intervention": {"name": "patch", "layer": "all", "names": ["a", "b"]},
                "tracker": {"name": "none"},
            }
        )
        for key, value in typed.items():
            OmegaConf.update(config, key, value)
        OmegaConf.save(config, path / "config.yaml")
        OmegaConf.save([f"{key}={value}" for key, value in typed.items()], path / ".hydra" / "overrides.yaml")
        state = {"status": status, "updated": "2026-01-01T00:00:00Z", "headline": "best_recovery"}
        (path / "status.json").write_text(json.dumps(state | ({"error": error} if error else {})))
        if status == "done":
            (path / "metrics.json").write_text(json.dumps(metrics))
            (path / "results.csv").write_text("layer\n0\n")
            identity = {"config": folder, "code": "this", "files": "none", "weights": "these"}
            (path / "provenance.json").write_text(json.dumps({"seconds": 1.5, "identity": identity}))
        return path

    return leave


@pytest.fixture
def leave_study(leave) -> Callable[..., Path]:
    """`leave_study("compare/now/0", {"model.name": "a"}, steps)`: a study, with a folder for each step that is done.

    `steps`: by name, the intervention of the step and its metrics, the first of which is its headline; a text instead
    is the state of a step that is not done.
    """

    def leave_study(folder: str, typed: dict, steps: dict, status: str = "done") -> Path:
        study = leave(folder, typed, baseline_clean_accuracy=1.0)
        lines = ["step,question,state,reason,metric,value,value_low,value_high,chosen,seconds,folder"]
        for number, (name, step) in enumerate(steps.items(), start=1):
            if isinstance(step, str):
                lines.append(f"{name},What of {name}?,{step},no reason,,,,,,,")
                continue
            intervention, n_sites, metrics = step
            place = f"{number:02}-{name}"
            run = leave(f"{folder}/{place}", {"intervention": intervention}, **metrics)
            rows = "".join(f"z,0,{site}\n" for site in range(n_sites))
            (run / "results.csv").write_text(f"component,layer,head\n{rows}")
            headline = next(iter(metrics))
            bounds = [metrics.get(f"{headline}{bound}", "") for bound in ("", "_low", "_high")]
            lines.append(f"{name},What of {name}?,done,,{headline},{','.join(map(str, bounds))},,1.0,{place}")
        (study / "results.csv").write_text("\n".join(lines) + "\n")
        record = json.loads((study / "status.json").read_text())
        state = {"status": status, "headline": "baseline_clean_accuracy"}
        (study / "status.json").write_text(json.dumps(record | state))
        return study

    return leave_study


@pytest.fixture
def no_login(monkeypatch, tmp_path):
    """A machine on which nobody is logged in."""
    for variable in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    wandb.teardown()
    yield
    wandb.teardown()
