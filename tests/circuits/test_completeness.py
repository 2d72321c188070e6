"""Completeness and minimality of a model whose logit difference is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.completeness import NO_HEAD, completeness, minimality
from ioi_lab.circuits.knockout import PlacedHead
from ioi_lab.stats.bootstrap import Bootstrap

N_PROMPTS = 12
MOVER, SECOND, BACKUP, IDLE = (PlacedHead(layer, 0, "END") for layer in range(4))
CIRCUIT = [MOVER, SECOND, IDLE]
CLASSES = {"mover": [MOVER, SECOND], "idle": [IDLE]}
NOISE = np.random.default_rng(0).normal(size=N_PROMPTS) * 0.01


class Additive:
    """Movers add 3 and 2 to the logit difference; a backup outside of the circuit adds 2 if the first mover is gone."""

    everything = frozenset([MOVER, SECOND, BACKUP, IDLE])

    def of(self, heads):
        return self.everything - set(heads)

    def of_all_but(self, circuit):
        return frozenset(circuit)

    def logit_diffs(self, kept_sets):
        return np.array([self.value(kept) + NOISE for kept in kept_sets])

    def value(self, kept):
        backed_up = 2.0 if BACKUP in kept and MOVER not in kept else 0.0
        return 3.0 * (MOVER in kept) + 2.0 * (SECOND in kept) + backed_up


def complete(n_random=0, n_greedy=0):
    return completeness(Additive(), Bootstrap(N_PROMPTS, seed=0), CIRCUIT, CLASSES, n_random, n_greedy, seed=0)


def test_what_takes_over_outside_of_the_circuit_shows_by_class():
    movers, idle = complete()
    assert (movers.kind, movers.label, movers.heads) == ("class", "mover", [MOVER, SECOND])
    assert movers.circuit.value[0] == pytest.approx(NOISE.mean())
    assert movers.model.value[0] == pytest.approx(2 + NOISE.mean())
    assert movers.difference.value[0] == pytest.approx(-2)
    assert idle.difference.value[0] == 0


def test_the_greedy_search_begins_with_the_head_that_is_backed_up():
    steps = [each for each in complete(n_greedy=5) if each.kind == "greedy"]
    assert [each.heads for each in steps] == [[MOVER], [MOVER, SECOND]]  # at most all but one head
    assert [each.difference.value[0] for each in steps] == pytest.approx([-2, -2])


def test_random_subsets_are_drawn_from_the_circuit():
    sets = [each.heads for each in complete(n_random=30) if each.kind == "random"]
    assert len(sets) == 30
    assert all(set(heads) <= set(CIRCUIT) for heads in sets)
    assert len({tuple(heads) for heads in sets}) > 4
    assert sets == [each.heads for each in complete(n_random=30) if each.kind == "random"]


def test_minimality_is_the_largest_change_over_the_subsets():
    needed = {each.head: each for each in minimality(Additive(), Bootstrap(N_PROMPTS, seed=0), CIRCUIT, CLASSES)}
    assert list(needed) == CIRCUIT
    assert needed[MOVER].change.value[0] == pytest.approx(-3)
    assert needed[SECOND].change.value[0] == pytest.approx(-2)
    assert needed[IDLE].change.value[0] == 0
    assert needed[IDLE].without in {NO_HEAD, "mover"}
    assert [each.is_found for each in needed.values()] == [True, True, False]
