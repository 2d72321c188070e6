"""Every head in the place of several: numbers recomputed from the edits, and the known answer of a model itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ioi_lab.alignment.maps import AffineMap
from ioi_lab.interventions.transfer.head_grid import measure_grid
from ioi_lab.transfer.head_maps import StreamMaps
from ioi_lab.transfer.heads import swap_heads
from tests.transfer.conftest import on_prompts


def test_the_numbers_are_those_of_the_edits(heads):
    swap, result, _ = heads
    training, held_out = swap.grids
    engine, grid = held_out.engine, result.grid
    by_head = engine.run(list(held_out.edits), "corrupted").logit_diff.reshape(len(grid.replaced), -1, result.n_prompts)
    gap = (engine.baseline("clean").logit_diff - engine.baseline("corrupted").logit_diff).mean()
    beyond = (by_head[:, 3:] - by_head[:, 1:2]).mean(axis=2) / gap
    assert grid.beyond == pytest.approx(beyond, abs=1e-5)
    assert grid.own.value == pytest.approx((by_head[:, 0] - by_head[:, 1]).mean(axis=1) / gap, abs=1e-5)
    on_training = training.engine.run(list(training.edits), "corrupted").logit_diff.reshape(len(grid.replaced), -1, 12)
    chosen = on_training[:, 3:].mean(axis=2).argmax(axis=1)
    assert grid.best == [grid.sources[index] for index in chosen]
    rows = np.arange(len(chosen))
    assert grid.of_best.value == pytest.approx(beyond[rows, chosen], abs=1e-5)
    others = [np.delete(beyond[row], chosen[row]).mean() for row in rows]
    assert grid.margins.margins["others"].value == pytest.approx(beyond[rows, chosen] - others, abs=1e-5)
    assert grid.share_of_best.value == pytest.approx(grid.of_best.value / grid.own.value, rel=1e-3)
    assert [grid.rank_of_best(row) for row in rows] == [
        1 + int((beyond[row] > beyond[row, chosen[row]]).sum()) for row in rows
    ]


def test_in_the_model_itself_each_head_is_replaced_by_itself_whole(tiny_models):
    source, target = on_prompts((tiny_models[0], tiny_models[0]), n=24)
    width = tiny_models[0].shape.d_model
    identity = AffineMap(torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64))
    maps = StreamMaps({(i, j): identity for i in (2, 3) for j in (2, 3)}, {(i, j): 1.0 for i in (2, 3) for j in (2, 3)})
    swap = swap_heads(source, target, maps, ((2, 3), (2, 3)), (None, None), "END")
    grid = measure_grid(*swap.grids, swap.controls)
    diagonal = [grid.beyond[row, grid.sources.index(head)] for row, head in enumerate(grid.replaced)]
    assert diagonal == pytest.approx(grid.own.value, abs=1e-4)
    assert grid.n_above is not None
    assert grid.n_above >= 1
    assert grid.best[0] == grid.replaced[0]
    assert grid.share_of_best.value[0] == pytest.approx(1, abs=1e-3)


def test_heads_are_chosen_on_training_prompts_that_maps_are_not_trained_on(heads):
    swap, _, _ = heads
    training, held_out = swap.grids
    logit_diff = training.engine.run(list(training.edits), "corrupted").logit_diff
    by_head = logit_diff.reshape(len(training.replaced), 3 + len(training.sources), -1)
    for unseen in ([0], [3, 7]):
        grid = measure_grid(replace(training, unseen=unseen), held_out, swap.controls)
        chosen = by_head[:, 3:, unseen].mean(axis=2).argmax(axis=1)
        assert grid.best == [grid.sources[index] for index in chosen]
