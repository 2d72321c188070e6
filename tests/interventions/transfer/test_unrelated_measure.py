"""The comparison with unrelated directions, recomputed direction by direction, and known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ioi_lab.interventions.transfer.slopes import RefitSpread, SlopeMeter
from ioi_lab.interventions.transfer.unrelated_measure import measure_unrelated
from ioi_lab.transfer.unrelated import UnrelatedDirections, prompt_differences
from ioi_lab.transfer.vectors import CARRIED

NO_SPREAD = RefitSpread(12, *[0.0] * 5)


def test_directions_take_the_route_of_the_vector_at_its_norm(vectors):
    transfer, result, _ = vectors
    directions = prompt_differences(transfer.source, transfer.best[0], 40, 0)
    carried = next(each for each in transfer.vectors_of_best if each.name == CARRIED)
    found = result.slopes.unrelated[0]
    assert (found.key, found.names) == ("prompts", directions.names)
    meter = SlopeMeter(transfer.target, transfer.best[1], result.slopes.scales)
    for index in (0, 17):
        image = transfer.route.image(directions.vectors[index], transfer.best)
        image *= carried.norm / np.linalg.norm(image)
        assert found.slopes[index] == pytest.approx(meter.slopes([image])[0], abs=1e-3)
        cosine = image @ carried.vector / carried.norm**2
        assert found.cosines[index] == pytest.approx(cosine)
    means = found.slopes.mean(axis=1)
    assert found.quantile == np.sort(means)[-1]  # of 40, the largest
    assert found.rank == 1 + (means > result.slopes.carried.value[0]).sum()
    assert found.margin.value == pytest.approx([result.slopes.carried.value[0] - found.quantile], abs=1e-4)
    assert found.is_exceeded == (found.margin.low[0] > 0)


def measured(vectors, directions):
    transfer, result, _ = vectors
    meter = SlopeMeter(transfer.target, transfer.best[1], result.slopes.scales)
    carried = meter.slopes([transfer.route.carry(transfer.best)])[0]
    named = UnrelatedDirections("prompts", "directions", [str(index) for index in range(len(directions))], directions)
    return measure_unrelated(transfer, named, carried, meter, NO_SPREAD)


def test_the_vector_itself_is_not_exceeded_whatever_its_length(vectors):
    transfer, _, _ = vectors
    own = transfer.source.vectors[transfer.best[0]]
    found = measured(vectors, [length * own for length in np.linspace(0.1, 3, 40)])
    assert found.rank == 41
    assert found.margin.value == pytest.approx([0], abs=1e-3)
    assert not found.is_exceeded
    assert found.cosines == pytest.approx(np.ones(40))


@pytest.mark.parametrize(("spread", "is_exceeded"), [(0.0, True), (30.0, False)])
def test_slopes_far_above_those_of_the_controls(vectors, spread, is_exceeded):
    """They exceed the controls, unless other training prompts might have given a vector without an effect."""
    transfer, result, _ = vectors
    directions = prompt_differences(transfer.source, transfer.best[0], 40, 0)
    meter = SlopeMeter(transfer.target, transfer.best[1], result.slopes.scales)
    steep = np.linspace(50, 51, result.n_prompts)
    found = measure_unrelated(transfer, directions, steep, meter, replace(NO_SPREAD, slope=spread))
    assert found.rank == 1
    assert found.margin.value == pytest.approx([50.5 - found.quantile])
    assert found.is_exceeded == is_exceeded
