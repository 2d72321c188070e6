"""The figure of a sweep of studies, and what its caption says is comparable."""

from __future__ import annotations

import pytest

from ioi_lab.runs.reading import read_run
from ioi_lab.runs.step_figures import StepFigure
from ioi_lab.runs.step_values import step_values
from ioi_lab.runs.sweeps import Sweep
from tests.reports.checks import check_sentences
from tests.runs.studied import STEPS


@pytest.fixture
def figure_of(leave_study):
    """`figure_of(one, other, common={"task": "ioi"})`: the figure of studies with these steps."""

    def figure_of(*studies, common=None):
        folders = [
            leave_study(f"compare/now/{job}", {"model.name": f"m{job}"}, steps) for job, steps in enumerate(studies)
        ]
        values = step_values([(f"m{job}", read_run(folder)) for job, folder in enumerate(folders)])
        return StepFigure(values, ["model"], "compare", common or {"task": "ioi"}, "prompts")

    return figure_of


def test_each_step_that_edits_or_scores_has_a_panel_with_a_row_per_study(figure_of):
    drawn = figure_of(STEPS, STEPS | {"steering": "skipped"}).draw()
    assert [ax.get_title() for ax in drawn.axes] == ["baseline", "knockout", "steering"]
    baseline, knockout, steering = drawn.axes
    assert baseline.get_xlabel() == "clean accuracy"
    assert knockout.get_xlabel() == "change in recovery\n(best of 16 sites)\nfrom the unedited clean run"
    assert steering.get_xlabel().startswith("change in logit difference (logits)\n(best of 4 sites)")
    assert [text.get_text() for text in knockout.texts] == ["−0.75 [−0.88, −0.50]"] * 2
    assert [text.get_text() for text in steering.texts] == ["-7".replace("-", "−"), "skipped"]
    assert drawn.get_suptitle().splitlines()[1] == "compare: 2 studies"


def test_the_caption_says_what_can_be_compared(figure_of):
    caption = figure_of(STEPS, STEPS).caption
    check_sentences([caption])
    assert "each study (rows, by model)" in caption
    assert "Recoveries and faithfulness are shares of each study's own logit difference" in caption
    assert "steering is in logits, of which models and tasks have scales of their own" in caption
    assert "knockout and steering show the best of several sites" in caption
    assert caption.endswith("The step lens reads the unedited model and has no number of this kind.")
    assert "by chance need not be the same in all tasks" not in caption


def test_over_tasks_accuracies_by_chance_differ(figure_of):
    baseline = {"baseline": STEPS["baseline"]}
    caption = figure_of(baseline, baseline, common={"model": "tiny-gpt2"}).caption
    check_sentences([caption])
    assert caption.endswith("Accuracy by chance need not be the same in all tasks.")


def test_a_step_with_other_metrics_has_a_panel_for_each(figure_of):
    other = ({"name": "ablate", "run": "clean"}, 16, {"best_recovery_kl": 0.5})
    drawn = figure_of(STEPS, STEPS | {"knockout": other}).draw()
    knockouts = [ax for ax in drawn.axes if ax.get_title() == "knockout"]
    assert [[text.get_text() for text in ax.texts][1 - at] for at, ax in enumerate(knockouts)] == ["another metric"] * 2


def test_one_study_has_no_comparison(figure_of):
    assert not figure_of(STEPS).is_drawn


def test_a_sweep_of_studies_writes_the_figure_and_the_table(leave_study, tmp_path):
    for job, model in enumerate(("tiny-gpt2", "tiny-pythia")):
        leave_study(f"compare/now/{job}", {"model": model}, STEPS)
    folder = tmp_path / "compare" / "now"
    for job in range(2):  # steps are parts of their studies, and no runs of the sweep
        assert (folder / str(job) / "01-baseline" / "status.json").is_file()
    sweep = Sweep.read(folder)
    assert len(sweep.records) == 2
    assert "headline_by_step" in sweep.write()
    assert (folder / "plots" / "headline_by_step.png").is_file()
    assert {value.study for value in sweep.steps} == {"tiny-gpt2", "tiny-pythia"}
    assert (folder / "steps.csv").read_text().startswith("step,question,study,state,metric,value,value_low,value_high")
    assert sweep.captions["headline_by_step"].startswith(
        "The headline number of each step (panels) in each study (rows, by model)"
    )
