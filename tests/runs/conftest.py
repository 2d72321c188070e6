"""Run folders as sweeps leave them, without running anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf


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
