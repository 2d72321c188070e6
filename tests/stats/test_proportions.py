from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from ioi_lab.stats.proportions import wilson


@pytest.mark.parametrize(("count", "n"), [(0, 5), (5, 5), (3, 8), (50, 80)])
def test_the_interval_is_that_of_scipy(count, n):
    successes = np.repeat([[1.0, 0.0]], [count, n - count], axis=1)
    estimate = wilson(np.concatenate([successes, 1 - successes]))
    expected = binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert estimate.value == pytest.approx([count / n, 1 - count / n])
    assert [estimate.low[0], estimate.high[0]] == pytest.approx([expected.low, expected.high], abs=1e-12)
    assert [1 - estimate.high[1], 1 - estimate.low[1]] == pytest.approx([expected.low, expected.high], abs=1e-12)
