from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from ioi_lab.stats.proportions import wilson_bounds


@pytest.mark.parametrize(("count", "n"), [(0, 5), (5, 5), (3, 8), (50, 80)])
def test_the_interval_is_that_of_scipy(count, n):
    low, high = wilson_bounds(np.array([count / n, 1 - count / n]), n)
    expected = binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert [low[0], high[0]] == pytest.approx([expected.low, expected.high], abs=1e-12)
    assert [1 - high[1], 1 - low[1]] == pytest.approx([expected.low, expected.high], abs=1e-12)
