from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.stats.groups import intraclass_correlation


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("sizes", [[4] * 400, [2, 6] * 200])
def test_it_is_the_share_of_the_variance_between_groups(correlation, sizes):
    """A random effect per group with a known share of the variance."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    effects = rng.normal(size=len(sizes))[groups] * np.sqrt(correlation)
    values = 5 + effects + rng.normal(size=len(groups)) * np.sqrt(1 - correlation)
    assert intraclass_correlation(values, groups.tolist()) == pytest.approx(correlation, abs=0.06)


def test_the_example_of_shrout_and_fleiss():
    """Table 2 of the paper: six targets rated by four judges, ICC(1, 1) = .17."""
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    groups = np.repeat(np.arange(6), 4).tolist()
    assert intraclass_correlation(ratings.ravel(), groups) == pytest.approx(0.17, abs=0.005)


def test_equal_values_within_groups_have_1_and_opposite_ones_less_than_0():
    assert intraclass_correlation(np.array([1.0, 1.0, 2.0, 2.0]), [0, 0, 1, 1]) == 1
    assert intraclass_correlation(np.array([1.0, 2.0, 1.0, 2.0]), [0, 0, 1, 1]) == pytest.approx(-1)


@pytest.mark.parametrize(("values", "groups"), [([1.0, 2.0], [0, 0]), ([1.0, 2.0], [0, 1]), ([1.0] * 4, [0, 0, 1, 1])])
def test_without_groups_or_variance_it_is_unknown(values, groups):
    assert intraclass_correlation(np.array(values), groups) is None
