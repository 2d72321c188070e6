from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from tests.interventions.circuit_tests.conftest import keys


@pytest.mark.parametrize(
    "changes", [{"controls": 19}, {"max_edges": 0}, {"resamples": 1}, {"random_sets": 0}, {"max_pairs": 0}]
)
def test_wrong_values_are_reported_with_their_key(changes):
    (key,) = changes
    with pytest.raises(LabError, match=rf"^intervention\.{key}: got "):
        keys(**changes)


def test_a_missing_file_is_reported_before_a_model_is_loaded(tmp_path):
    with pytest.raises(LabError, match=r"^intervention\.circuit: .*nowhere\.json"):
        keys(circuit=str(tmp_path / "nowhere.json")).check()


def test_the_keys_of_the_search_are_checked_too():
    with pytest.raises(LabError, match=r"^intervention\.tau: got null, but search=acdc"):
        keys(search="acdc")
