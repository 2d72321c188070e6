"""Run folders with results, without running anything: a small grid of heads on eight prompts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from ioi_lab.circuits.graph import Graph
from ioi_lab.circuits.selection import pruned, topn
from ioi_lab.dashboard.index import Index
from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.models.shape import ModelShape
from ioi_lab.storage.tables import csv_bytes

HOSTILE = "<img src=x onerror=alert(1)> & <b>bold</b> [a](http://evil.example)"
N_PROMPTS = 8


def heads_table(seed: int = 0, n_layers: int = 3, n_heads: int = 2) -> pd.DataFrame:
    """The results of a grid of heads: effects fall with the layer, and those of the last one are none."""
    rng = np.random.default_rng(seed)
    rows = []
    for layer in range(n_layers):
        for head in range(n_heads):
            recovery = 0.8 - 0.4 * layer + 0.1 * head + 0.01 * rng.normal()
            rows.append(
                {
                    "component": "z",
                    "layer": layer,
                    "head": head,
                    "position": "all",
                    "scale": np.nan,
                    "logit_diff": 4 * recovery - 2,
                    "recovery": recovery,
                    "recovery_low": recovery - 0.1,
                    "recovery_high": recovery + 0.1,
                    "p_value": 0.001 if layer < 2 else 0.4,
                    "p_adjusted": 0.002 if layer < 2 else 0.5,
                }
            )
    return pd.DataFrame(rows)


def prompts_table() -> pd.DataFrame:
    names = [f"prompt {number}" for number in range(N_PROMPTS)]
    return pd.DataFrame(
        {
            "clean": [HOSTILE, *names[1:]],
            "corrupt": [f"other {name}" for name in names],
            "answer": [" A"] * N_PROMPTS,
            "distractor": [" B"] * N_PROMPTS,
            "clean_logit_diff": 2.0,
            "corrupted_logit_diff": -2.0,
        }
    )


def per_prompt_table(results: pd.DataFrame) -> pd.DataFrame:
    spread = np.linspace(-0.5, 0.5, N_PROMPTS)
    rows, prompts = np.divmod(np.arange(len(results) * N_PROMPTS), N_PROMPTS)
    values = results["logit_diff"].to_numpy()[rows] + spread[prompts]
    about = {"row": rows, "prompt": prompts, "logit_diff": values, "clean_logit_diff": 2.0}
    return pd.DataFrame(about | {"corrupted_logit_diff": -2.0, "p_answer": 0.5})


@pytest.fixture
def runs_folder(tmp_path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def leave(runs_folder) -> Callable[..., Path]:
    """`leave("patch/now", {"intervention.layer": 3}, best_recovery=0.5)`: a run's folder."""

    def leave(
        name: str,
        typed: dict | None = None,
        status: str = "done",
        error: str | None = None,
        table: pd.DataFrame | None = None,
        updated: str = "2026-01-01T00:00:00Z",
        **metrics: float,
    ) -> Path:
        path, typed = runs_folder / name, typed or {}
        (path / ".hydra").mkdir(parents=True)
        config = {
            "name": "patch",
            "seed": 0,
            "model": {"name": "tiny-gpt2"},
            "task": {"name": "ioi", "n": N_PROMPTS},
            "intervention": {"name": "patch", "component": "z", "layer": "all", "direction": "denoise"},
        }
        for key, value in typed.items():
            group, _, last = key.rpartition(".")
            (config[group] if group else config)[last] = value
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        (path / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"{k}={v}" for k, v in typed.items()]))
        if status == "done":
            results = heads_table(int(config["seed"])) if table is None else table
            metrics = {
                "best_recovery": 0.8,
                "best_recovery_low": 0.7,
                "best_recovery_high": 0.9,
                "n_prompts": 8,
            } | metrics
            (path / "results.csv").write_bytes(csv_bytes(results))
            (path / "prompts.csv").write_bytes(csv_bytes(prompts_table()))
            per_prompt_table(results.assign(logit_diff=results.get("logit_diff", 0.0))).to_parquet(
                path / "per_prompt.parquet", index=False
            )
            (path / "metrics.json").write_text(json.dumps(metrics))
            (path / "summary.txt").write_text(f"patch · tiny-gpt2\n{HOSTILE}\n")
            identity = {"config": name, "code": "this", "files": "none", "weights": "these"}
            (path / "provenance.json").write_text(json.dumps({"seconds": 1.5, "identity": identity}))
        state = {"status": status, "updated": updated, "headline": "best_recovery"}
        (path / "status.json").write_text(json.dumps(state | ({"error": error} if error else {})))
        return path

    return leave


@pytest.fixture
def index_of(runs_folder) -> Callable[[], Index]:
    """`index_of()`: the index of the runs folder, brought up to date, in memory."""

    def index_of() -> Index:
        index = Index(RunsFolder(runs_folder))
        index.refresh()
        return index

    return index_of


def small_graph() -> Graph:
    return Graph.of(ModelShape("toy", 2, 2, 2, 8, 4, 16))


@pytest.fixture
def leave_circuit(leave) -> Callable[..., Path]:
    """`leave_circuit("circuit/now")`: the folder of a circuit run by two methods, whose curves are made up."""

    def leave_circuit(name: str, **typed: object) -> Path:
        graph, tables, curves = small_graph(), [], []
        for seed, method in enumerate(("eap", "exact")):
            scores = np.random.default_rng(seed).normal(size=graph.n_edges)
            steps = topn(scores, "absolute")
            sizes = [1, 5, 10, graph.n_edges]
            kept = [pruned(graph, steps.circuit(size)) for size in sizes]
            curve = {
                "method": method,
                "ranking": "absolute",
                "k": np.array(sizes) / graph.n_edges,
                "edges_asked": sizes,
            }
            curve |= {
                "edges_kept": [int(circuit.sum()) for circuit in kept],
                "nodes": 1,
                "faithfulness": [0.0, 0.4, 0.8, 1],
            }
            curves.append(pd.DataFrame(curve).assign(faithfulness_low=[-0.1, 0.3, 0.7, np.nan], faithfulness_high=1.0))
            about = {"method": method, "edge": graph.names, "position": "all", "score": scores}
            tables.append(
                pd.DataFrame(about | {"score_low": scores - 1, "score_high": scores + 1, "in_circuit": kept[2]})
            )
        curve = pd.concat(curves, ignore_index=True)
        keys = {"intervention.name": "circuit", "intervention.search": "topn", "intervention.nodes": "edges"}
        folder = leave(name, keys | typed, table=curve, best_recovery=0.8)
        model = {"name": "toy", "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "parallel": False}
        (folder / "circuit.json").write_text(json.dumps({"model": model, "edges": graph.names[:3]}))
        (folder / "curve.csv").write_bytes(csv_bytes(curve))
        (folder / "edges.csv").write_bytes(csv_bytes(pd.concat(tables, ignore_index=True)))
        controls = curve[curve["method"] == "eap"].assign(kind="uniform", faithfulness=0.0)
        (folder / "controls.csv").write_bytes(csv_bytes(controls))
        return folder

    return leave_circuit
