"""`intervention=baseline` has no keys but its name."""

from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from ioi_lab.interventions.baseline.config import Baseline


def test_other_keys_are_refused():
    assert Baseline.from_config({"name": "baseline"}, "intervention").title == "baseline"
    with pytest.raises(LabError, match=r"^intervention\.layer: "):
        Baseline.from_config({"layer": 1}, "intervention")
