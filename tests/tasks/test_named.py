"""Tasks by the names of their options."""

from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from ioi_lab.tasks.named import task_named


def test_an_option_with_its_defaults(tmp_path, monkeypatch):
    task = task_named("docstring", 5, 3, "intervention.others")
    assert (task.name, task.n, task.seed, task.corruption) == ("docstring", 5, 3, "swap")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "mine.yaml").write_text(
        "_target_: ioi_lab.tasks.induction.InductionTask\nname: mine\nn: 7\ncorruption: abc\n"
    )
    own = task_named("mine", 5, 3, "intervention.others")
    assert (own.name, own.n, own.seed, own.corruption) == ("mine", 5, 0, "abc")


def test_what_is_no_option_or_needs_more_is_refused():
    with pytest.raises(LabError, match=r"^x: got 'capitals', expected one of country_capital, docstring"):
        task_named("capitals", 5, 0, "x")
    with pytest.raises(LabError, match=r"^x: pairs needs more than its defaults \(task.path: got None"):
        task_named("pairs", 5, 0, "x")


@pytest.mark.parametrize(("text", "line"), [("", "has no keys"), ("n: [1", "is no YAML: while parsing")])
def test_a_damaged_file_is_one_line(tmp_path, monkeypatch, text, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "mine.yaml").write_text(text)
    with pytest.raises(LabError, match=f"^x: '.*mine.yaml' {line}"):
        task_named("mine", 5, 0, "x")
