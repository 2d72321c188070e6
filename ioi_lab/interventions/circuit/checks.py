"""The self-checks of circuits: all edges give the clean pass, none the corrupted one, and one edge is as by an edit."""

from __future__ import annotations

from typing import Final

import numpy as np

from ioi_lab.circuits.edge_effects import edge_chunks, edge_edits
from ioi_lab.circuits.runner import CircuitRunner
from ioi_lab.interventions.self_checks import SelfChecks, check_shares
from ioi_lab.stats.metrics import Readout

_N_EDGES: Final = 4
"""The number of edges that are ablated both in a circuit's pass and by an edit."""


def checked_circuits(runner: CircuitRunner, seed: int) -> tuple[Readout, SelfChecks]:
    """Return the readout of the circuits with all edges and with none, and the self-checks.

    Under ablations other than `corrupted`, no edges do not give the corrupted pass; then the second check is about
    single edges alone. Raises a `LabError` if a check fails: then no number of this run can be trusted.
    """
    engine, ends = runner.engine, runner.ends()
    clean, corrupted = engine.baseline("clean"), engine.baseline("corrupted")
    nothing = ends.logit_diff[1:] if runner.ablation == "corrupted" else corrupted.logit_diff
    checked = Readout(np.concatenate([ends.logit_diff[:1], nothing + _worst_difference(runner, seed)]))
    return ends, check_shares(checked, clean, corrupted, "corrupted")


def _worst_difference(runner: CircuitRunner, seed: int) -> float:
    """Return the largest difference, in logits, between the whole model without an edge by a circuit and by an edit."""
    n_edges = runner.graph.n_edges
    edges = np.random.default_rng(seed).choice(n_edges, min(_N_EDGES, n_edges), replace=False).tolist()
    worst = 0.0
    for chunk in edge_chunks(runner, edges):
        circuits = np.ones((len(chunk), n_edges), dtype=bool)
        circuits[np.arange(len(chunk)), chunk] = False
        by_circuit = runner.run(circuits, progress=False).logit_diff
        by_edit = runner.engine.run(edge_edits(runner, chunk), "clean", progress=False).logit_diff
        worst = max(worst, float(np.abs(by_circuit - by_edit).max()))
    return worst
