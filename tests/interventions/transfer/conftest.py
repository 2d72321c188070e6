"""Measured transfers between the tiny models."""

from __future__ import annotations

import pytest

from ioi_lab.interventions.transfer.head_measure import measure_head_swap
from ioi_lab.interventions.transfer.vector_measure import VectorOptions, measure_vector_transfer
from ioi_lab.models.loading import load_model
from ioi_lab.tiny import tiny_folder
from ioi_lab.transfer.head_maps import StreamMaps
from ioi_lab.transfer.heads import swap_heads
from ioi_lab.transfer.unrelated import unrelated_directions
from ioi_lab.transfer.vectors import NativeVectors, ThroughMaps, ThroughVocabulary, transfer_vectors
from tests.conftest import model_config
from tests.transfer.conftest import on_prompts, random_maps

SCALES = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0]


@pytest.fixture(scope="session")
def tiny_models():
    return tuple(load_model(model_config(tiny_folder(name), name=name)) for name in ("tiny-gpt2", "tiny-pythia"))


def measured_vectors(models, through):
    """The prepared transfer, its result and its checks."""
    source, target = (
        NativeVectors.of(model, "resid_post", "END", [2, 3], "mean_difference")
        for model in on_prompts(models, n=24, contrast="name_pair")
    )
    r2 = None
    if through == "maps":
        maps = random_maps(models, (2, 3))
        route, r2 = ThroughMaps(source, maps, 5, 0), {pair: 0.1 * sum(pair) for pair in maps}
    else:
        route = ThroughVocabulary.of(source, target, 5, 0)
    transfer = transfer_vectors(source, target, route)
    options = VectorOptions(through, "mean_difference", "name_pair", ("James", "Robert"), SCALES, 5, 40, 0)
    directions = unrelated_directions(source, transfer.best[0], 40, 0)
    return transfer, *measure_vector_transfer(transfer, options, r2, directions)


def measured_heads(models, heads=((2, 0), (3, 1)), roles=()):
    """The prepared swap, its result and its checks."""
    source, target = on_prompts(models, n=24)
    maps = random_maps(models, (2, 3))
    stream = StreamMaps(maps, {pair: 0.1 * sum(pair) for pair in maps})
    swap = swap_heads(source, target, stream, ((2, 3), (2, 3)), heads, "END", roles)
    return swap, *measure_head_swap(swap)


@pytest.fixture(scope="session", params=["maps", "vocabulary"])
def vectors(request, tiny_models):
    return measured_vectors(tiny_models, request.param)


@pytest.fixture(scope="session")
def heads(tiny_models):
    return measured_heads(tiny_models)
