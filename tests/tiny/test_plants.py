"""The definitions of the planted circuits."""

from __future__ import annotations

import pytest

from ioi_lab.tiny import HAND_SET, PLANTED_MODELS
from ioi_lab.tiny.masked import edges_of
from ioi_lab.tiny.planting import planted_network
from ioi_lab.tiny.plants import PLANTS


def test_each_packaged_model_has_a_definition():
    assert {HAND_SET, *PLANTS} == set(PLANTED_MODELS)


@pytest.mark.parametrize("name", PLANTS)
def test_circuits_are_edges_of_the_network_and_their_heads_have_roles(name, tokenizer):
    plant = PLANTS[name]
    edges = set(plant.edges)
    assert len(edges) == len(plant.edges)
    assert edges <= set(edges_of(planted_network(tokenizer, name)))
    assert {edge.partition("->")[0] for edge in edges} - {"input"} == set(plant.heads)
    for some in (*plant.parts.values(), *plant.cuts.values()):
        assert some
        assert set(some) <= edges
