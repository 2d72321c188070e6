"""The keys of logit attribution: those of today, and those in the config.yaml of earlier runs."""

from __future__ import annotations

import pytest
from yaml import safe_load

from ioi_lab.errors import LabError
from ioi_lab.interventions.logit_attribution.config import LogitAttribution
from tests.conftest import only_run_folder


def test_titles_name_the_corrupted_prompts_only():
    assert LogitAttribution().title == "logit attribution"
    assert LogitAttribution(prompts="corrupted").title == "logit attribution (corrupted)"


def test_the_old_key_is_read():
    assert LogitAttribution.from_config({"run": "corrupted"}, "intervention") == LogitAttribution(prompts="corrupted")
    with pytest.raises(LabError, match=r"^intervention\.prompts: got 'both', expected 'clean' or 'corrupted'$"):
        LogitAttribution.from_config({"run": "both"}, "intervention")


def test_a_config_of_an_earlier_version_runs_again(sweep, tmp_path):
    arguments = ("tracker=none", "intervention=logit_attribution", "task.n=4", "figures=false")
    assert sweep(*arguments, "intervention.prompts=corrupted").code == 0
    first = only_run_folder(tmp_path)
    config = (first / "config.yaml").read_text()
    old = config.replace("  prompts: corrupted", "  run: corrupted").replace(
        "ioi_lab.interventions.logit_attribution.config.LogitAttribution",
        "ioi_lab.interventions.logit_attribution.LogitAttribution",
    )
    assert safe_load(old)["intervention"] == {
        "_target_": "ioi_lab.interventions.logit_attribution.LogitAttribution",
        "name": "logit_attribution",
        "run": "corrupted",
    }
    (first / "old.yaml").write_text(old)
    outcome = sweep("--config-dir", str(first), "--config-name", "old", "name=again")
    assert outcome.code == 0, outcome.err
    (again,) = (tmp_path / "runs" / "again").iterdir()
    assert (again / "results.csv").read_text() == (first / "results.csv").read_text()


def test_the_old_key_is_refused_with_the_new_one(sweep):
    outcome = sweep("intervention=logit_attribution", "intervention.run=corrupted")
    assert outcome.code == 1
    assert outcome.error_line == "error: intervention.run: this key is now intervention.prompts"
    with pytest.raises(LabError, match=r"^intervention\.run: this key is now intervention\.prompts$"):
        LogitAttribution.from_config({"run": "clean", "prompts": "clean"}, "intervention")
