"""The report of a sweep, from folders that runs have left."""

from __future__ import annotations

import json

from ioi_lab.runs.sweep_pages import sweep_page, write_sweep_page
from ioi_lab.runs.sweeps import Sweep
from tests.reports.checks import check_sentences
from tests.runs.studied import STEPS


def test_it_asks_about_the_swept_keys_and_names_the_extremes(leave, tmp_path):
    for layer, value in enumerate((0.5, -0.25, 0.1)):
        leave(f"heads/now/{layer}", {"intervention.layer": layer}, best_recovery=value, best_recovery_low=value - 0.1,
              best_recovery_high=value + 0.1)  # fmt: skip
    leave("heads/now/3", {"intervention.layer": 9}, status="failed", error="intervention.layer: <b>got 9</b>")
    folder = tmp_path / "heads" / "now"
    (folder / "typed.yaml").write_text("task:\n- intervention.layer=0,1,2,9\nhydra: []\n")
    sweep = Sweep.read(folder)
    sweep.write()
    page = sweep_page(sweep)
    assert page.question == "How does best recovery of patch · tiny-gpt2 · ioi depend on layer?"
    assert page.answer == [
        "4 runs: 3 done, 1 failed.",
        "Best recovery is highest at 0.5 [0.4, 0.6] (layer = 0), and lowest at -0.25 [-0.35, -0.15] (layer = 1); the "
        "median is 0.1.",
    ]
    assert page.limits[0].startswith("1 run of 4 did not finish")
    assert [figure.name for figure in page.figures] == ["best_recovery_by_layer"]
    check_sentences([*page.answer, *page.limits, *(figure.caption for figure in page.figures)])
    assert page.command == "ioi-lab sweep -m intervention.layer=0,1,2,9"
    assert page.tables[0].data["intervention.layer"].tolist() == [0, 1, 2, 9]
    text = write_sweep_page(sweep).read_text()
    assert "&lt;b&gt;got 9&lt;/b&gt;" in text
    assert "<b>got 9" not in text


def test_the_provenance_is_what_all_runs_have_in_common(leave, tmp_path):
    for job, model in enumerate(("tiny-gpt2", "tiny-pythia")):
        run = leave(f"models/now/{job}", {"model": model}, best_recovery=0.5)
        (run / "provenance.json").write_text(json.dumps({"model": {"name": model}, "git_commit": "abc", "seconds": 1}))
    provenance = sweep_page(Sweep.read(tmp_path / "models" / "now")).provenance
    assert provenance["git_commit"] == "abc"
    assert "model" not in provenance


def test_a_sweep_without_a_finished_run_has_a_page_too(leave, tmp_path):
    leave("heads/now/0", {"intervention.layer": 0}, status="failed", error="no")
    page = sweep_page(Sweep.read(tmp_path / "heads" / "now"))
    assert page.answer == ["1 run: 1 failed."]
    assert page.figures == []


def test_figures_of_an_earlier_summary_keep_their_captions(leave, tmp_path):
    folder = tmp_path / "heads" / "now"
    for layer in range(2):
        leave(f"heads/now/{layer}", {"intervention.layer": layer}, best_recovery=0.5, n_edits=float(layer))
    Sweep.read(folder, "n_edits").write()
    sweep = Sweep.read(folder)
    sweep.write()
    captions = {figure.name: figure.caption for figure in sweep_page(sweep).figures}
    assert captions["n_edits_by_layer"].startswith("N edits along layer. A point is the value of one run.")
    assert captions["best_recovery_by_layer"].startswith(
        "Change in recovery from the unedited corrupted run along layer."
    )
    (folder / "plots" / "n_edits_by_layer.png").unlink()
    sweep.write()
    assert list(json.loads((folder / "report.json").read_text())["captions"]) == ["best_recovery_by_layer"]


def test_studies_have_a_table_of_their_steps(leave_study, tmp_path):
    for job, model in enumerate(("tiny-gpt2", "tiny-pythia")):
        leave_study(f"compare/now/{job}", {"model": model}, STEPS)
    sweep = Sweep.read(tmp_path / "compare" / "now")
    sweep.write()
    page = sweep_page(sweep)
    assert [table.name for table in page.tables] == ["steps", "runs"]
    assert len(page.tables[0].data) == 2 * len(STEPS)
    assert "headline_by_step" in {figure.name for figure in page.figures}
    check_sentences([figure.caption for figure in page.figures])
