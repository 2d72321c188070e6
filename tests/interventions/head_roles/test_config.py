"""The keys of head roles: those of today, and those in the config.yaml of earlier runs."""

from __future__ import annotations

import pytest

from ioi_lab.config import instantiate
from ioi_lab.errors import LabError
from ioi_lab.interventions.base import Intervention
from ioi_lab.interventions.head_roles.config import HeadRoles
from ioi_lab.lenses.roles import Thresholds
from tests.conftest import only_run_folder
from tests.interventions.head_roles.command import run_roles


def test_thresholds_are_a_group_of_their_own():
    config = HeadRoles.from_config({"thresholds": {"end": 0.5}, "controls": 30}, "intervention")
    assert config.thresholds == Thresholds(end=0.5)
    assert (config.repeats, config.controls, config.seed) == (16, 30, 0)
    assert config.title == "head roles"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"repeats": 7}, r"^intervention\.repeats: got 7, expected greater than or equal to 8$"),
        ({"controls": 19}, r"^intervention\.controls: got 19, expected greater than or equal to 20$"),
        ({"n_reference": 1}, r"^intervention\.n_reference: got 1, expected greater than or equal to 2$"),
        ({"thresholds": {"copying": -0.1}}, r"^intervention\.thresholds\.copying: got -0\.1, expected greater than"),
        ({"threshold": {}}, r"^intervention\.threshold: no such key$"),
    ],
)
def test_wrong_values_are_reported_with_their_key(keys, line):
    with pytest.raises(LabError, match=line):
        HeadRoles.from_config(keys, "intervention")


def test_a_target_of_an_earlier_version_is_read():
    earlier = {"_target_": "ioi_lab.interventions.head_roles.HeadRoles", "name": "head_roles", "repeats": 9}
    assert instantiate(earlier, "intervention", Intervention) == HeadRoles(repeats=9)


def test_a_config_of_an_earlier_version_runs_again(sweep, tmp_path):
    assert run_roles(sweep, "task.n=16", "figures=false").code == 0
    first = only_run_folder(tmp_path)
    new = "ioi_lab.interventions.head_roles.config.HeadRoles"
    config = (first / "config.yaml").read_text()
    assert new in config
    (first / "old.yaml").write_text(config.replace(new, "ioi_lab.interventions.head_roles.HeadRoles"))
    outcome = sweep("--config-dir", str(first), "--config-name", "old", "name=again")
    assert outcome.code == 0, outcome.err
    (again,) = (tmp_path / "runs" / "again").iterdir()
    assert (again / "results.csv").read_text() == (first / "results.csv").read_text()
