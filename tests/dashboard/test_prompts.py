"""The prompts of a site."""

from __future__ import annotations

from ioi_lab.dashboard.places import RunsFolder
from ioi_lab.dashboard.prompts import prompt_columns, prompt_figure, prompts_of
from ioi_lab.dashboard.results import Results, read_prompts


def test_prompts_are_drawn_and_listed(leave, runs_folder):
    leave("demo")
    runs = RunsFolder(runs_folder)
    results = Results.read(runs, "demo", {})
    (figure,), (table,) = prompts_of(runs, "demo", results, 2)
    assert "z 1.0: 8 prompts" in figure.figure.layout.title.text
    assert len(table.rowData) == 8
    names = [column["headerName"] for column in prompt_columns(read_prompts(runs, "demo", 2))]
    assert names[:3] == ["Clean prompt", "Answer", "Distractor"]
    assert "p(answer)" in names
    assert "p(distractor)" not in names


def test_the_figure_is_sorted_and_its_texts_are_text(leave, runs_folder):
    leave("demo")
    figure = prompt_figure(read_prompts(RunsFolder(runs_folder), "demo", 0), "title")
    edited = figure.data[-1]
    assert list(edited.y) == sorted(edited.y, reverse=True)
    assert "<img" not in str(figure.to_dict())


def test_without_values_by_prompt_all_metrics_of_the_site_are_shown(leave, runs_folder):
    (leave("demo") / "per_prompt.parquet").unlink()
    runs = RunsFolder(runs_folder)
    shown, table = prompts_of(runs, "demo", Results.read(runs, "demo", {}), 0)
    assert table == []
    assert "keeps no values by prompt" in str(shown)
    assert "recovery" in str(shown)


def test_without_a_site_there_are_words(leave, runs_folder):
    leave("demo")
    runs = RunsFolder(runs_folder)
    for row in (None, 6, 10**9):
        shown, _ = prompts_of(runs, "demo", Results.read(runs, "demo", {}), row)
        assert "No site is chosen" in str(shown)
