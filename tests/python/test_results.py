"""Runs and sweeps as objects."""

from __future__ import annotations

import json
import webbrowser

import pandas as pd
import pytest

import ioi_lab as lab
from ioi_lab.storage.files import write_json


def test_a_run_has_its_results(demo):
    assert list(demo.table.columns[:3]) == ["component", "layer", "head"]
    assert len(demo.per_prompt) == len(demo.table) * len(demo.prompts)
    assert demo.metrics == json.loads((demo.folder / "metrics.json").read_text())
    assert demo.config["intervention"]["name"] == "patch"
    assert demo.provenance["model"]["name"] == "tiny-gpt2"
    assert next(iter(demo.figures)) == "recovery_by_head"
    assert demo.figures["recovery_by_head"].path.is_file()


def test_the_summary_is_what_the_command_line_prints(demo):
    """The log has the same lines, and then the folder."""
    assert demo.summary[0] == "patch z · tiny-gpt2 · ioi"
    assert demo.summary == (demo.folder / "log.txt").read_text().splitlines()[: len(demo.summary)]
    assert repr(demo).splitlines() == [*demo.summary, f"results: {demo.folder}"]
    assert "<strong>patch z · tiny-gpt2 · ioi</strong>" in demo._repr_html_()


def test_the_report_opens_in_a_browser(demo, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    demo.show_report()
    assert demo.report == demo.folder / "report.html"
    assert opened == [demo.report.resolve().as_uri()]


def test_a_run_of_an_earlier_version_has_its_name_as_summary(demo, tmp_path):
    (tmp_path / "config.yaml").write_text("name: old\n")
    assert lab.Run(tmp_path).summary == ["old"]


def test_what_a_run_does_not_have_is_one_line(tmp_path):
    with pytest.raises(lab.LabError, match=r"has no per_prompt\.parquet; only edits are read per prompt"):
        lab.Run(tmp_path).per_prompt  # noqa: B018


def test_a_run_that_is_not_done_is_refused_with_its_reason(tmp_path):
    write_json(tmp_path / "status.json", {"status": "failed", "error": "the disk is full"})
    with pytest.raises(lab.LabError, match="is not done but failed: the disk is full"):
        lab.Run.read(tmp_path)


def test_a_sweep_is_its_table(tmp_path):
    for layer in (0, 1):
        folder = tmp_path / str(layer)
        write_json(folder / "status.json", {"status": "done", "headline": "x"})
        write_json(folder / "metrics.json", {"x": layer / 2})
        write_json(folder / "provenance.json", {"seconds": 1.0})
        (folder / "results.csv").write_text("layer\n0\n")
        (folder / "config.yaml").write_text("name: a\n")
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "overrides.yaml").write_text(f"- intervention.layer={layer}\n")
    write_json(tmp_path / "2" / "status.json", {"status": "failed", "error": "no"})
    sweep = lab.Sweep(tmp_path)
    assert isinstance(sweep.table, pd.DataFrame)
    assert sweep.table["status"].tolist() == ["done", "done", "failed"]
    assert [run.metrics["x"] for run in sweep.runs] == [0.0, 0.5]
    assert "3 runs (2 done, 1 failed)" in repr(sweep)
    assert "3 runs (2 done, 1 failed)" in sweep._repr_html_()
