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
def no_login(monkeypatch, tmp_path):
    """A machine on which nobody is logged in."""
    for variable in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    wandb.teardown()
    yield
    wandb.teardown()
