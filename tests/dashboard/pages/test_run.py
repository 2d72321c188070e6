"""The page of a run."""

from __future__ import annotations

import pytest

from ioi_lab.dashboard.pages.run import clicked_row, layout, view_of
from ioi_lab.dashboard.views import RunView
from tests.dashboard.conftest import HOSTILE


def test_a_run_with_a_report_opens_with_it_in_a_sandbox(leave, index_of):
    (leave("a b") / "report.html").write_text("<title>x</title>")
    page = str(layout(index_of(), RunView("a b")))
    assert "src='/files/a%20b/report.html'" in page
    assert "sandbox='allow-scripts allow-modals'" in page
    assert "allow-same-origin" not in page


def test_a_run_without_a_report_opens_with_its_map(leave, index_of):
    leave("demo", {"intervention.layer": 3})
    page = str(layout(index_of(), RunView("demo", row=2)))
    assert "run-map" in page
    assert "run-prompts-figure" in page
    assert "intervention.layer=3" in page
    assert HOSTILE in str(layout(index_of(), RunView("demo", tab="report")))  # the summary, as text


@pytest.mark.parametrize("tab", ["report", "map", "figures", "config"])
def test_failed_damaged_and_empty_runs_have_words(leave, index_of, runs_folder, tab):
    leave("failed", status="failed", error="got <b>99</b>")
    (leave("damaged") / "results.csv").write_text("")
    (runs_folder / "empty").mkdir()
    (runs_folder / "empty" / "status.json").write_text("[")
    index = index_of()
    for name in ("failed", "damaged", "empty"):
        page = str(layout(index, RunView(name, tab=tab)))
        assert name.replace("empty", "damaged") in page
    assert "got <b>99</b>" in str(layout(index, RunView("failed", tab=tab)))


def test_figures_are_those_in_the_folder(leave, index_of, tmp_path):
    folder = leave("demo")
    (folder / "plots").mkdir()
    (folder / "plots" / "heads.png").write_bytes(b"png")
    (tmp_path / "secret.png").write_bytes(b"png")
    (folder / "plots" / "link.png").symlink_to(tmp_path / "secret.png")
    page = str(layout(index_of(), RunView("demo", tab="figures")))
    assert "/files/demo/plots/heads.png" in page
    assert "link.png" not in page


def test_texts_that_are_links_out_of_the_folder_are_not_shown(leave, index_of, tmp_path):
    folder = leave("demo")
    (tmp_path / "secret").write_text("secret words")
    (folder / "summary.txt").unlink()
    (folder / "summary.txt").symlink_to(tmp_path / "secret")
    assert "secret words" not in str(layout(index_of(), RunView("demo", tab="report")))


def test_a_study_links_to_its_steps_and_back(leave, index_of):
    study = leave("study/now", status="failed")
    config = study / "config.yaml"
    config.write_text(config.read_text().replace("  name: patch\n", "") + "study: {steps: all}\n")
    leave("study/now/01-baseline")
    index = index_of()
    assert "href='/run/study/now/01-baseline'" in str(layout(index, RunView("study/now")))
    assert "href='/run/study/now'" in str(layout(index, RunView("study/now/01-baseline")))


def test_controls_become_a_view():
    names = [{"cut": "scale", "of": "run"}, {"cut": "order", "of": "run"}]
    view = view_of("/run/a%20b?tab=map&row=3", "kl", ["4", None], names, 7)
    assert view == RunView("a b", tab="map", metric="kl", cut=("scale=4",), row=7)


def test_the_clicked_cell_is_a_row_of_the_results():
    assert clicked_row({"points": [{"customdata": 4}]}) == 4
    assert clicked_row({"points": [{"customdata": [4]}]}) == 4
    for click in (None, {}, {"points": []}, {"points": [{"customdata": -1}]}, {"points": [{"customdata": "x"}]}):
        assert clicked_row(click) is None
