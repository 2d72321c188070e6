"""The rows of `ioi-lab info` and of the reference."""

from __future__ import annotations

import pytest

from ioi_lab.cli.keys import KeyRow, rows_of, rows_of_every_option
from ioi_lab.errors import LabError


def row(group: str, option: str, key: str) -> KeyRow:
    return next(row for row in rows_of(group, option) if row.key == key)


def test_every_key_of_every_option_has_a_kind_and_a_meaning():
    rows = rows_of_every_option()
    assert {("", "sweep"), ("intervention", "steer"), ("lens", "tuned"), ("tracker", "none")} <= rows.keys()
    lacking = {
        (option, each.key) for option, keys in rows.items() for each in keys if not (each.accepts and each.meaning)
    }
    assert lacking == set()


def test_a_key_with_its_default_choices_and_meaning():
    assert row("intervention", "steer", "intervention.unit") == KeyRow(
        "intervention.unit",
        "vector",
        "vector, residual",
        "a scale of 1 adds the vector as it is (vector), or as long as the site's activation (residual)",
    )


def test_the_docstring_of_a_field_is_its_meaning_if_the_file_has_no_comment():
    assert row("intervention", "patch", "intervention.layer").meaning == "An index, a list of indices, or all layers."
    assert row("intervention", "knockout", "intervention.sets").default == "except"
    assert row("intervention", "knockout", "intervention.sets").meaning.startswith("each (one site at a time)")


def test_keys_of_groups_within_groups():
    assert row("intervention", "transfer", "model@intervention.source").default == "tiny-gpt2"
    assert row("intervention", "transfer", "intervention.source.dtype").accepts == "float32, bfloat16, float16"
    assert row("intervention", "head_roles", "intervention.thresholds.end").default == "0.2"
    assert row("corpus", "task", "corpus.task.n") == KeyRow("corpus.task.n", "1000", "integer ≥ 1", "number of prompts")
    assert row("task", "ioi", "task.n").default == "32"


def test_a_group_without_a_default_has_no_keys_of_its_own():
    keys = [each.key for each in rows_of("intervention", "transfer")]
    assert row("intervention", "transfer", "corpus@intervention.other_corpus").default == "null"
    assert "intervention.other_corpus.name" not in keys
    assert "intervention.corpus.name" in keys


def test_the_keys_at_the_top_of_a_command():
    assert row("", "sweep", "intervention").default == "patch"
    assert row("", "sweep", "stats.over").accepts == "prompts, sentences"
    assert row("", "train_align", "model@source").default == "tiny-gpt2"


def test_a_key_that_must_be_given():
    assert row("model", "folder", "model.path").default == "???"


@pytest.mark.parametrize("target", ["ioi_lab.tasks.nothing.Task", "ioi_lab.tasks.ioi.Task_", "ioi_lab.tasks.ioi.NAMES"])
def test_a_class_that_is_none_is_one_line(tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "other.yaml").write_text(f"_target_: {target}\nname: other\n")
    with pytest.raises(LabError, match=rf"task\._target_: got '{target}', expected the full name of a config class"):
        rows_of("task", "other")


def test_a_class_that_is_not_trusted_is_not_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "other.yaml").write_text("_target_: antigravity.Task\nname: other\n")
    with pytest.raises(LabError, match=r"task\._target_: got 'antigravity.Task', expected a name in ioi_lab"):
        rows_of("task", "other")
