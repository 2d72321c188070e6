"""Several runs next to each other, as data."""

from __future__ import annotations

import numpy as np
import pytest

from ioi_lab.dashboard.comparison import Comparison, Difference
from ioi_lab.storage.tables import csv_bytes
from tests.dashboard.conftest import N_PROMPTS, heads_table, per_prompt_table, prompts_table


@pytest.fixture
def compare(index_of):
    def compare(*folders):
        return Comparison.read(index_of(), folders)

    return compare


def test_differing_keys_have_the_value_of_each_run(leave, compare):
    leave("a", {"seed": 0, "intervention.layer": 2})
    leave("b", {"seed": 1, "intervention.layer": 2, "name": "other"})
    keys = compare("a", "b").differing_keys()
    assert keys == [{"key": "seed", "run0": "0", "run1": "1"}]


def test_the_same_sites_and_prompts_are_said_to_be_comparable(leave, compare):
    leave("a")
    leave("b", {"seed": 1})
    comparison = compare("a", "b")
    assert comparison.metrics == ["recovery", "logit_diff"]
    assert comparison.names == ["A: a", "B: b"]
    assert comparison.comparable("recovery") == [
        "All 6 rows of the results are those of the same sites in each run.",
        f"The prompts are the same ({N_PROMPTS}), so differences are paired by prompt.",
    ]


def test_what_differs_is_said(leave, compare):
    leave("a")
    leave("b", {"model.name": "tiny-pythia", "intervention.direction": "noise"}, table=heads_table(n_layers=4))
    leave("c", status="failed")
    text = " ".join(compare("a", "b", "c").comparable("recovery"))
    for part in (
        "C has no results.csv.",
        "6 of 8 sites are in all runs",
        "The models differ (tiny-gpt2, tiny-pythia): layers and heads do not correspond.",
        "No effect is another value of recovery",
    ):
        assert part in text
    assert compare("a", "c").comparable("recovery")[0].startswith("Fewer than two")


def test_paired_differences_are_those_of_the_prompts(leave, compare, index_of):
    leave("a")
    leave("b", table=heads_table().assign(logit_diff=lambda table: table["logit_diff"] + 0.25))
    difference = compare("a", "b").difference(index_of().runs, 1)
    assert isinstance(difference, Difference)
    assert difference.n_prompts == N_PROMPTS
    np.testing.assert_allclose(difference.value, 0.25)
    assert difference.labels[0] == "z layer 0 head 0 position all"
    assert difference.labels[0] in compare("a").common


def test_other_prompts_are_not_paired(leave, compare, index_of, runs_folder, tmp_path):
    leave("a")
    other = leave("b")
    (other / "prompts.csv").write_bytes(csv_bytes(prompts_table().assign(clean="another")))
    comparison = compare("a", "b")
    assert "The prompts differ" in " ".join(comparison.comparable("recovery"))
    assert comparison.difference(index_of().runs, 1) == "the two runs share no prompts, or no edits"
    some = prompts_table()
    some.loc[:2, "clean"] = "another"
    (other / "prompts.csv").write_bytes(csv_bytes(some))
    assert f"5 prompts of {N_PROMPTS} in each run are in all runs" in " ".join(compare("a", "b").comparable("recovery"))
    (other / "per_prompt.parquet").unlink()
    per_prompt_table(heads_table()).to_parquet(tmp_path / "secret.parquet")
    (other / "per_prompt.parquet").symlink_to(tmp_path / "secret.parquet")
    assert comparison.difference(index_of().runs, 1) == "b keeps no values by prompt"


def test_at_most_eight_runs_that_exist_are_read(leave, compare):
    for number in range(9):
        leave(f"r{number}", status="failed")
    assert len(compare(*(f"r{number}" for number in range(9)), "../secret").runs) == 8
    assert compare("../secret", "none").runs == []


def test_values_are_aligned_by_label(leave, compare):
    leave("a")
    leave("b", table=heads_table().iloc[::-1])
    runs = compare("a", "b").runs
    labels = [*runs[0].labels, "no such site"]
    np.testing.assert_allclose(runs[0].values("recovery", labels), runs[1].values("recovery", labels))
    assert np.isnan(runs[0].values("recovery", labels)[-1])
