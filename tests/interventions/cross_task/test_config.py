"""The keys of circuits across tasks."""

from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from ioi_lab.interventions.cross_task.config import CrossTask
from ioi_lab.jobs.experiment import Experiment
from ioi_lab.jobs.job import PreparedJob
from tests.conftest import model_config


def test_the_title_counts_the_tasks():
    assert CrossTask(others=["induction", "greater_than"]).title == "circuits of 3 tasks"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"others": ["inductoin"]},
            r"^intervention.others: got 'inductoin', expected one of country_capital, docstring, ",
        ),
        ({"others": ["pairs"]}, r"^intervention.others: pairs needs more than its defaults \(task.path: got None"),
        ({"others": ["ioi", "ioi"]}, r"^intervention.others: got \['ioi', 'ioi'\], in which a task stands twice"),
        ({"positions": "labels"}, r"^intervention.positions: got 'labels', but tasks have labels of their own"),
    ],
)
def test_mistakes_are_one_line(values, line):
    with pytest.raises(LabError, match=line):
        CrossTask.from_config(values, "intervention").check()


def test_a_task_that_the_tokenizer_cannot_write_is_named(engine):
    with pytest.raises(LabError, match=r"^intervention.others: country_capital: task=country_capital: this model's"):
        CrossTask(others=["country_capital"]).measure(engine)


def test_a_task_on_which_something_fails_is_named(engine, monkeypatch):
    def fail(engine, keys):
        raise LabError("intervention: faithfulness is not defined")

    monkeypatch.setattr("ioi_lab.interventions.cross_task.measure.found_subject", fail)
    with pytest.raises(LabError, match=r"^intervention: faithfulness is not defined$"):
        CrossTask().measure(engine)
    subjects = iter([None])
    monkeypatch.setattr(
        "ioi_lab.interventions.cross_task.measure.found_subject",
        lambda engine, keys: next(subjects) if engine.prompts[0].frame else fail(engine, keys),
    )
    with pytest.raises(LabError, match=r"^intervention.others: induction: intervention: faithfulness is not"):
        CrossTask(others=["induction"]).measure(engine)


def test_the_content_of_the_other_tasks_is_part_of_the_identity_of_a_run(tmp_path, monkeypatch, folders):
    monkeypatch.chdir(tmp_path)
    file, prompts = tmp_path / "conf" / "task" / "mine.yaml", tmp_path / "mine.csv"
    file.parent.mkdir(parents=True)
    prompts.write_text("clean,corrupt,answer,distractor\na,b,c,d\n")
    config = {
        "name": "a",
        "tracker": {"name": "none"},
        "task": {"_target_": "ioi_lab.tasks.ioi.IOITask"},
        "intervention": {"_target_": "ioi_lab.interventions.cross_task.config.CrossTask", "others": ["mine"]},
    }
    given = {"model": model_config(folders["tiny-gpt2"])}

    def identity_with(path):
        file.write_text(f"_target_: ioi_lab.tasks.pairs.PairsTask\nname: mine\npath: {path}\n")
        return PreparedJob.of(config, Experiment, given).identity()

    first = identity_with("mine.csv")
    assert identity_with("mine.csv") == first
    assert identity_with("./mine.csv")["config"] != first["config"]
    prompts.write_text("clean,corrupt,answer,distractor\na,b,c,e\n")
    assert identity_with("mine.csv") == first | {"files": identity_with("mine.csv")["files"]}
    assert identity_with("mine.csv") != first


def test_tasks_of_one_name_are_told_apart_by_their_options(tmp_path, monkeypatch, engine):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "conf" / "task"
    folder.mkdir(parents=True)
    for option, corruption in (("a", "s2"), ("b", "abc")):
        text = f"_target_: ioi_lab.tasks.ioi.IOITask\nn: 8\ncorruption: {corruption}\n"
        (folder / f"{option}.yaml").write_text(text)
    measured = []
    monkeypatch.setattr(
        "ioi_lab.interventions.cross_task.measure.measure_cross_task",
        lambda engine, keys, others: measured.extend(others),
    )
    CrossTask(others=["a", "b"]).measure(engine)
    assert measured == ["a", "b"]


def test_a_selection_of_prompts_that_would_be_ignored_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "task").mkdir(parents=True)
    text = "_target_: ioi_lab.tasks.ioi.IOITask\nonly_correct: true\n"
    (tmp_path / "conf" / "task" / "mine.yaml").write_text(text)
    with pytest.raises(LabError, match=r"^intervention.others: mine has only_correct: true, which holds for the task"):
        CrossTask(others=["mine"]).check()
