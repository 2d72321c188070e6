"""`ioi-lab new`, and parts of one's own in the current folder: they run, and an edit voids what is done."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
from hydra._internal.utils import create_config_search_path

from ioi_lab import plugins
from ioi_lab.cli.info import answer
from ioi_lab.cli.keys import rows_of
from ioi_lab.cli.new import KINDS, main, next_steps, write_templates
from ioi_lab.config import CONFIG_FOLDER
from ioi_lab.errors import LabError
from ioi_lab.runs import code
from tests.conftest import only_run_folder

SHORT = ("-m", "tracker=none", "figures=false", "name=own", "intervention=damp_it", "task=handed", "task.n=8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder, which Python does not look into, as for an installed command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(tmp_path))])
    monkeypatch.delenv("IOI_LAB_PLUGINS", raising=False)
    yield tmp_path
    as_in_a_new_process()


def as_in_a_new_process():
    for name in ("damp_it", "handed"):
        sys.modules.pop(name, None)
    for cached in (code.sha256_of_code, code._source_of, code._read):
        cached.cache_clear()


@pytest.mark.long
def test_the_templates_run_and_resume_after_an_edit(sweep, folder, monkeypatch):
    for kind, name in (("intervention", "damp_it"), ("task", "handed")):
        assert write_templates(kind, name) == [Path(f"{name}.py"), Path("conf", kind, f"{name}.yaml")]
    assert sweep(*SHORT).error_line.endswith("(export IOI_LAB_PLUGINS=handed)")
    assert str(folder) not in sys.path
    monkeypatch.setenv("IOI_LAB_PLUGINS", "damp_it,handed")
    outcome = sweep(*SHORT)
    assert outcome.code == 0, outcome.err
    assert "damp_it z · tiny-gpt2 · handed" in outcome.out
    table = pd.read_csv(only_run_folder(folder) / "results.csv")
    assert len(table) == 16
    assert table["logit_diff"].nunique() == 16
    as_in_a_new_process()
    assert "is done already" in sweep(*SHORT).out
    as_in_a_new_process()
    (folder / "damp_it.py").write_text((folder / "damp_it.py").read_text().replace("scale=self.factor", "scale=0.25"))
    outcome = sweep(*SHORT)
    assert "1 of them with other code, which are run again" in outcome.out
    again = pd.read_csv(only_run_folder(folder) / "results.csv")
    assert (again["logit_diff"] != table["logit_diff"]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_keys_of_a_template_are_those_of_its_class(folder, monkeypatch, kind):
    write_templates(kind, "handed")
    monkeypatch.setenv("IOI_LAB_PLUGINS", "handed")
    rows = rows_of(kind, "handed")
    assert all(row.accepts and row.meaning for row in rows)
    cls = vars(sys.modules["handed"])["Handed"]
    own = {f"{kind}.{key}": field.default for key, field in cls.model_fields.items()}
    assert {row.key: row.default for row in rows} == {
        key: {"False": "false", "None": "null"}.get(str(value), str(value)) for key, value in own.items()
    }
    assert f"  {kind}.name=handed" in list(answer(f"{kind}=handed"))


def test_what_to_type_next_keeps_the_plugins_that_are_named_already(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/ioi-lab", "task", "mine"])
    monkeypatch.setenv("IOI_LAB_PLUGINS", "one,two")
    assert next_steps("task", "mine")[1:3] == ["  export IOI_LAB_PLUGINS=one,two,mine", "  ioi-lab sweep task=mine"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("patch", "patch: is an intervention of the lab already; give another name"),
        ("json", "json: is the name of an installed Python module already; give another name"),
        ("My-Thing", "'My-Thing': cannot be the name of a Python module; use small letters, digits and underscores"),
        ("class", "'class': cannot be the name of a Python module; use small letters, digits and underscores"),
        ("../up", "'../up': cannot be the name of a Python module; use small letters, digits and underscores"),
        ("taken", "taken.py: is there already; give another name, or move it away"),
        ("own", "conf/intervention/own.yaml: is there already; give another name, or move it away"),
    ],
)
def test_a_name_that_cannot_be_one_leaves_nothing(folder, monkeypatch, name, line):
    (folder / "taken.py").write_text("")
    (folder / "conf" / "intervention").mkdir(parents=True)
    (folder / "conf" / "intervention" / "own.yaml").write_text("")
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["/bin/ioi-lab", "intervention", name])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == f"error: {line}"
    assert sorted(folder.rglob("*")) == before


def test_an_own_option_with_a_name_of_the_lab_is_not_taken_in_silence(sweep, folder):
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "tiny-gpt2.yaml").write_text("name: other\n")
    assert sweep("model=tiny-gpt2").error_line == (
        "error: model: got 'tiny-gpt2', which the lab and conf/model/tiny-gpt2.yaml both have; give yours another name"
    )


def test_the_keys_of_an_option_in_another_folder_are_those_that_an_error_names(sweep, folder):
    write_templates("intervention", "damp_it")
    (folder / "conf").rename(folder / "other")
    line = sweep("--config-dir", "other", "intervention=damp_it", "intervention.faktor=3").error_line
    assert line.startswith(
        "error: intervention.faktor: no such key (did you mean intervention.factor?); expected one of "
    )


def test_other_programs_of_hydra_do_not_get_the_folder(folder):
    (folder / "conf").mkdir()
    of_the_lab, of_others = (
        [element.path for element in create_config_search_path(main).get_path()]
        for main in (str(CONFIG_FOLDER), str(folder / "theirs"))
    )
    assert of_the_lab.index(f"file://{folder}/conf") > of_the_lab.index(str(CONFIG_FOLDER))
    assert f"file://{folder}/conf" not in of_others


def test_the_current_folder_is_looked_into_for_named_modules_alone(folder, monkeypatch):
    (folder / "mine.py").write_text("")
    plugins.find_in_current_folder()
    monkeypatch.setenv("IOI_LAB_PLUGINS", "elsewhere")
    plugins.find_in_current_folder()
    assert str(folder) not in sys.path
    monkeypatch.setenv("IOI_LAB_PLUGINS", "elsewhere,mine.part")
    plugins.find_in_current_folder()
    assert sys.path[-1] == str(folder)


def test_a_wrong_kind_is_refused_before_anything_is_written(folder):
    with pytest.raises(LabError):
        write_templates("task", "ioi")
    assert not list(folder.iterdir())
