"""Corpora give the same texts each time, and name the key of a mistake."""

from __future__ import annotations

import json

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ioi_lab.alignment.corpora import Corpus, HubDataset, TaskPrompts, TextFile, TinyEnglish
from ioi_lab.config import CONFIG_FOLDER, instantiate
from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import Task
from tests.alignment.conftest import tiny_english
from tests.conftest import ioi_task


def hub(path, **changes) -> HubDataset:
    values = {"name": "hub", "subset": None, "split": "train", "column": "text", "revision": None, "n": 5}
    return HubDataset.from_config(values | {"path": str(path)} | changes, "corpus")


def test_tiny_english_is_what_the_tiny_models_learned(both):
    from ioi_lab.tiny.corpus import sentences

    corpus = tiny_english(50, seed=3)
    assert corpus.at_most == 50
    assert list(corpus.texts(both[0].tokens)) == list(corpus.texts(both[0].tokens)) == sentences(50, 3)


def test_a_tasks_prompts_are_texts(both):
    task = {"_target_": "ioi_lab.tasks.ioi.IOITask"} | ioi_task(n=3).model_dump()
    corpus = TaskPrompts(name="task", task=task)
    expected = [text for pair in ioi_task(n=3).prompt_pairs(both[0].tokens) for text in (pair.clean, pair.corrupted)]
    assert list(corpus.texts(both[0].tokens)) == expected
    assert corpus.title == "prompts of ioi (s2)"
    with pytest.raises(LabError, match=r"corpus\.task\.n"):
        TaskPrompts(name="task", task=task | {"n": 0}).check()


def test_how_many_texts_there_are_is_known_before_they_are_read_or_not(tmp_path):
    assert hub("some/data").at_most == 5
    assert TextFile(name="text", path="a.txt", n=7).at_most == 7
    assert TextFile(name="text", path="a.txt").at_most is None


def test_a_text_file_in_paragraphs_or_lines(both, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("One\nline.\n\n\nTwo.\nThree.\n")
    read = {
        unit: list(TextFile(name="text", path=str(path), unit=unit, n="all").texts(both[0].tokens))
        for unit in ("paragraph", "line")
    }
    assert read["paragraph"] == ["One line.", "Two. Three."]
    assert [line for line in read["line"] if line] == ["One", "line.", "Two.", "Three."]
    assert len(list(TextFile(name="text", path=str(path), unit="paragraph", n=1).texts(both[0].tokens))) == 1


def test_a_text_file_that_cannot_be_read_is_reported(both, tmp_path):
    with pytest.raises(LabError, match=r"corpus\.path: .* is not a file"):
        TextFile(name="text", path=str(tmp_path / "none.txt"), unit="line", n="all").check()
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00bad")
    bad = TextFile(name="text", path=str(tmp_path / "bad.txt"), unit="line", n="all")
    with pytest.raises(LabError, match=r"corpus\.path: cannot read"):
        list(bad.texts(both[0].tokens))


def test_a_data_set_is_read_by_its_library(both, tmp_path):
    rows = [{"text": f"Text {number}.", "other": number} for number in range(8)]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert list(hub(tmp_path).texts(both[0].tokens)) == [row["text"] for row in rows[:5]]
    with pytest.raises(LabError, match=r"corpus\.column: got 'body', expected one of text, other"):
        list(hub(tmp_path, column="body").texts(both[0].tokens))
    with pytest.raises(LabError, match=r"corpus\.path: cannot read the data set"):
        list(hub(tmp_path, split="none").texts(both[0].tokens))
    with pytest.raises(LabError, match=r"corpus\.path: cannot read the data set"):
        list(hub("nobody/nothing-at-all").texts(both[0].tokens))


@pytest.mark.parametrize(
    ("name", "corpus"),
    [
        ("tiny_english", TinyEnglish()),
        ("task", TaskPrompts()),
        ("hub", HubDataset()),
        ("text", TextFile(path="text.txt")),
    ],
)
def test_the_defaults_are_those_of_the_yaml(name, corpus):
    with initialize_config_dir(str(CONFIG_FOLDER), version_base=None):
        composed = compose("train_align", [f"corpus={name}", *(["corpus.path=text.txt"] if name == "text" else [])])
    from_yaml = instantiate(OmegaConf.to_container(composed.corpus, resolve=True), "corpus", Corpus)
    assert type(from_yaml) is type(corpus)
    if name == "task":
        assert instantiate(from_yaml.task, "task", Task) == instantiate(corpus.task, "task", Task)
    else:
        assert from_yaml == corpus


def test_a_data_set_that_is_also_a_folder_here_is_refused(tmp_path, monkeypatch):
    """`datasets` would take the folder, whatever it is."""
    monkeypatch.chdir(tmp_path)
    hub("own/data").check()
    (tmp_path / "own" / "data").mkdir(parents=True)
    for path in ("./own/data", str(tmp_path / "own" / "data"), "other/data"):
        hub(path).check()
    with pytest.raises(
        LabError, match=r"^corpus\.path: got 'own/data', which is a name on the hub, but also in the cur"
    ):
        hub("own/data").check()
