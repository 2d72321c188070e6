from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.circuits.validity.equivalence import Equivalence, equivalence
from ioi_lab.stats.bootstrap import Estimate


def test_the_whole_model_is_above_itself_half_of_the_time(evaluation):
    result = equivalence(evaluation, evaluation.whole)
    assert result.above.value == pytest.approx([0.5])
    assert result.difference.value == pytest.approx([0])
    assert result.outcome == "not shown"  # 16 prompts do not tell 0.5 ± 0.1 apart


def test_a_circuit_that_is_always_below_is_not_equivalent(evaluation):
    result = equivalence(evaluation, evaluation.empty)
    assert result.above.value == pytest.approx([0])
    assert result.difference.value[0] < 0
    assert result.outcome == "fails"


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.45, 0.55, "holds"), (0.41, 0.48, "holds"), (0.2, 0.3, "fails"), (0.3, 0.7, "not shown"),
     (np.nan, np.nan, "not testable")],
)  # fmt: skip
def test_outcomes(low, high, outcome):
    above = Estimate(np.array([0.5]), np.array([low]), np.array([high]))
    assert Equivalence(above, above).outcome == outcome
