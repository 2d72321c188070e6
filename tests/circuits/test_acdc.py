"""ACDC in batches of guesses against ACDC edge by edge, in the same order."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.acdc import _by_reader, acdc
from ioi_lab.circuits.finding import SearchSettings, find_by_acdc
from ioi_lab.circuits.selection import edges_at, pruned

HEADS = [(3, 1)]


def edge_by_edge(runner, tau, objective, seed, varied):
    """The same search as a loop over edges, each tried alone, and without leaving any reader out."""
    circuit = np.ones(runner.graph.n_edges, dtype=bool)

    def value(flags):
        readout = runner.run(flags[None], progress=False)
        return (readout.logit_diff if objective == "logit_diff" else -readout.kl).mean()

    kept = value(circuit)
    for edge in np.concatenate(_by_reader(runner.graph, seed)).tolist():
        if not varied[edge]:
            continue
        without = circuit.copy()
        without[edge] = False
        if kept - (tried := value(without)) < tau:
            circuit, kept = without, tried
    return circuit


@pytest.mark.parametrize(("objective", "tau", "seed"), [("logit_diff", 0.05, 0), ("kl", 0.001, 1)])
def test_batches_of_guesses_find_what_edge_by_edge_finds(runner, objective, tau, seed):
    varied = edges_at(runner.graph, heads=HEADS)
    found = acdc(runner, tau, objective, seed, varied)
    expected = edge_by_edge(runner, tau, objective, seed, varied)
    assert found[~varied].all()
    assert 0 < found[varied].sum() < varied.sum()
    assert (pruned(runner.graph, found) == pruned(runner.graph, expected)).all()


def test_readers_are_visited_from_the_logits_down_and_writers_from_the_latest(runner):
    graph = runner.graph
    order = _by_reader(graph, 0)
    assert sorted(np.concatenate(order).tolist()) == list(range(graph.n_edges))
    readers = [graph.readers[graph.edge_reader[edges[0]]] for edges in order]
    places = [(reader.layer, reader.input == "mlp") for reader in readers]
    assert places == sorted(places, reverse=True)
    for edges in order:
        writers = [graph.writers[writer] for writer in graph.edge_writer[edges]]
        assert [writer.layer for writer in writers] == sorted((writer.layer for writer in writers), reverse=True)
    other = np.concatenate(_by_reader(graph, 1)).tolist()
    assert np.concatenate(order).tolist() != other


def test_orders_come_smallest_first(runner, monkeypatch):
    """Each order has its own seed; circuits are pruned after those with the fewest edges come first."""
    graph, varied = runner.graph, edges_at(runner.graph, heads=HEADS)
    by_seed = {seed: np.random.default_rng(seed).random(graph.n_edges) < share for seed, share in ((5, 0.9), (6, 0.3))}

    def stand_in(of, tau, objective, seed, among, checkpoint):
        assert (of, tau, objective, among is varied) == (runner, 0.1, "logit_diff", True)
        return by_seed[seed]

    monkeypatch.setattr("ioi_lab.circuits.finding.acdc", stand_in)
    settings = SearchSettings("acdc", tau=0.1, objective="logit_diff", orders=2, seed=5, varied=varied)
    found = find_by_acdc(runner, settings)
    assert found.asked.tolist() == [by_seed[6].sum(), by_seed[5].sum()]
    assert (found.circuits == np.stack([pruned(graph, by_seed[seed]) for seed in (6, 5)])).all()
