"""The report of attribution patching: estimates in the columns of patching, exact values next to them."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.interventions.attribution_patch import AttributionPatch
from tests.interventions.toy import report


def attribution_patch(**changes) -> AttributionPatch:
    return AttributionPatch.from_config(changes, "intervention")


def test_exact_values_stand_next_to_the_estimates():
    found = report(attribution_patch(), [-1, -1, 0, 1, 3, -2], estimated=[-1, 0, 1, 2, 3, -3])
    assert found.table["recovery"].to_numpy() == pytest.approx([0, 0.25, 0.5, 0.75, 1, -0.5])
    assert found.table["exact_recovery"].to_numpy() == pytest.approx([0, 0, 0.25, 0.5, 1, -0.25])
    assert found.table["exact_logit_diff"].tolist() == [-1, -1, 0, 1, 3, -2]
    assert "kl" not in found.table  # an estimate knows no probabilities
    assert found.metrics["largest_error"] == pytest.approx(0.25)
    # Spearman by hand: ranks 2 3 4 5 6 1 against 2.5 2.5 4 5 6 1.
    assert found.metrics["rank_correlation"] == pytest.approx(
        np.corrcoef([2, 3, 4, 5, 6, 1], [2.5, 2.5, 4, 5, 6, 1])[0, 1]
    )
    assert set(found.draw()) == {"recovery_by_head", "top_effects", "estimate_against_exact"}
    assert all("Estimate of patching" in figure.get_suptitle() for figure in found.draw().values())


def test_without_check_nothing_exact_is_run_or_claimed():
    intervention = attribution_patch(check=False, ig_steps=4)
    found = report(intervention, [], estimated=[-1, 0, 1, 2, 3, -3])  # the toy engine refuses further edits
    assert not any(column.startswith("exact") for column in found.table)
    assert "rank_correlation" not in found.metrics
    assert "4 integrated-gradient steps" in found.draw()["top_effects"].get_suptitle()
