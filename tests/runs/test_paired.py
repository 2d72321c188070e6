"""Paired differences of two runs, on runs with known values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from ioi_lab.errors import LabError
from ioi_lab.reports.report import per_prompt_file
from ioi_lab.runs.paired import paired_difference, paired_lines
from ioi_lab.stats.metrics import Readout
from tests.conftest import run_folders

RNG = np.random.default_rng(0)
SHARED = 3 * RNG.normal(size=40)
"""What prompts have in common in both runs: far more than the difference between the runs."""


@pytest.fixture
def run(tmp_path):
    """`run("a", {head: values})`: the files of a grid of heads of layer 2."""

    def run(name, by_head, prompts=range(40)):
        folder = tmp_path / name
        folder.mkdir()
        values = np.stack([np.asarray(each) for each in by_head.values()])
        table = pd.DataFrame({"component": "z", "layer": 2, "head": list(by_head), "position": "END", "scale": None})
        table.to_csv(folder / "results.csv", index=False)
        texts = [f"prompt {prompt}" for prompt in prompts]
        pd.DataFrame({"clean": texts, "corrupt": texts, "answer": " a", "distractor": " b"}).to_csv(
            folder / "prompts.csv", index=False
        )
        zeros = np.zeros(values.shape[1])
        for file, content in per_prompt_file(Readout(values), zeros, zeros).items():
            (folder / file).write_bytes(content)
        return folder

    return run


def test_runs_are_paired_by_edit_and_prompt(run):
    """Whatever the order of heads and prompts; heads and prompts of one run alone are left out."""
    noise = RNG.normal(size=(2, 40))
    first = run("a", {0: SHARED + noise[0], 1: SHARED, 3: SHARED})
    order = RNG.permutation(40)
    second = run("b", {1: (SHARED + noise[1] + 1)[order], 0: SHARED[order], 2: SHARED[order]}, prompts=order)
    found = paired_difference(first, second)
    assert found.n_prompts == 40
    values = dict(zip(found.labels, found.difference.value.tolist(), strict=True))
    assert values == pytest.approx(
        {
            "z layer 2 head 0 position END": -noise[0].mean(),
            "z layer 2 head 1 position END": 1 + noise[1].mean(),
        }
    )
    expected = ttest_rel(SHARED, SHARED + noise[0]).pvalue
    assert found.discoveries.p_value[found.labels.index("z layer 2 head 0 position END")] == pytest.approx(expected)
    lines = paired_lines(first, second)
    assert "paired over 40 prompts with 95 % intervals: 1 of 2 are distinguishable from 0" in lines[0]
    assert lines[1].startswith("  z layer 2 head 1 position END")
    assert len(lines) == 2


def test_repeated_prompts_count_once(run):
    twice = [*range(40), *range(40)]
    both = np.concatenate([SHARED, SHARED])
    noise = RNG.normal(size=40)
    found = paired_difference(run("a", {0: both}, twice), run("b", {0: both + np.tile(noise, 2)}, twice))
    assert found.n_prompts == 40
    assert found.discoveries.p_value[0] == pytest.approx(ttest_rel(noise, np.zeros(40)).pvalue)


def test_runs_that_share_nothing_are_not_paired(run):
    first = run("a", {0: SHARED})
    assert paired_difference(first, run("b", {1: SHARED})) is None
    assert paired_difference(first, run("c", {0: SHARED}, prompts=range(40, 80))) is None
    (run("d", {0: SHARED}) / "per_prompt.parquet").unlink()
    assert paired_lines(first, first.parent / "d") == []


def test_damaged_values_are_reported(run):
    first, second = run("a", {0: SHARED}), run("b", {0: SHARED})
    (second / "per_prompt.parquet").write_bytes(b"no")
    with pytest.raises(LabError, match="cannot read the values by prompt"):
        paired_difference(first, second)


def test_two_real_runs_are_compared(sweep, tmp_path):
    common = ("tracker=none", "figures=false", "task.n=16", "intervention.layer=2")
    assert sweep(*common, "name=a").code == 0
    assert sweep(*common, "name=b", "intervention.position=END").code == 0
    assert sweep(*common, "name=c", "intervention.direction=noise").code == 0
    one, other_position, other_direction = sorted(run_folders(tmp_path))
    assert paired_difference(one, other_position) is None
    found = paired_difference(one, other_direction)
    tables = [pd.read_csv(folder / "results.csv") for folder in (one, other_direction)]
    assert found.difference.value == pytest.approx((tables[1]["logit_diff"] - tables[0]["logit_diff"]).to_numpy())
    values = pd.read_parquet(one / "per_prompt.parquet")
    assert values.groupby("row")["logit_diff"].mean().to_numpy() == pytest.approx(tables[0]["logit_diff"].to_numpy())
    prompts = pd.read_csv(one / "prompts.csv")
    assert values["clean_logit_diff"][:16].to_numpy() == pytest.approx(prompts["clean_logit_diff"].to_numpy())


def test_a_site_that_was_selected_twice_is_paired_once(run):
    folders = [run(name, {0: SHARED + shift, 1: SHARED}) for name, shift in (("a", 0), ("b", 1))]
    for folder in folders:
        table = pd.read_csv(folder / "results.csv")
        table.assign(head=0).to_csv(folder / "results.csv", index=False)
    found = paired_difference(*folders)
    assert found.labels == ["z layer 2 head 0 position END"]
    assert found.difference.value == pytest.approx([1.0])
