"""Which code is part of a run's identity: what its modules import, and nothing else."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import ioi_lab
from ioi_lab.runs import code
from ioi_lab.runs.code import modules_named_in, sha256_of_code

PATCH = frozenset({"ioi_lab.jobs.experiment", "ioi_lab.interventions.patch", "ioi_lab.tasks.ioi"})
ATTENTION = PATCH | {"ioi_lab.interventions.attention.config"}


@pytest.fixture
def forget():
    """Forget what has been read, as a new process has."""

    def forget():
        for cached in (sha256_of_code, code._source_of, code._read):
            cached.cache_clear()

    forget()
    yield forget
    forget()


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    copy = tmp_path_factory.mktemp("copied") / "ioi_lab"
    shutil.copytree(
        Path(ioi_lab.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__", "tiny-*", "planted-*")
    )
    return copy


@pytest.fixture
def package(copied, monkeypatch, forget):
    """A copy of the package, which this process does not import from."""
    plain = code.importlib.util.find_spec

    def find_spec(name):
        if name == "ioi_lab":
            return code.importlib.util.spec_from_file_location(name, copied / "__init__.py")
        return plain(name)

    monkeypatch.setattr(code.importlib.util, "find_spec", find_spec)
    return copied


@pytest.mark.parametrize(
    ("edited", "modules", "changes"),
    [
        ("interventions/patch.py", PATCH, True),
        ("interventions/grid_report.py", PATCH, True),  # makes results.csv
        ("engine/hooks.py", PATCH, True),  # imported inside a function
        ("jobs/shared_passes.py", PATCH, False),  # named by the job
        ("interventions/steer/measure.py", PATCH, False),
        ("tasks/pairs.py", PATCH, False),
        ("reports/plots/maps.py", PATCH, False),
        ("runs/tracking.py", PATCH, False),
        ("cli/messages.py", PATCH, False),
        ("reports/pages/attention.html", PATCH, False),
        ("reports/pages/attention.html", ATTENTION, True),
        ("interventions/attention/figures.py", ATTENTION, False),
        ("interventions/attention/texts.py", ATTENTION, False),
        ("interventions/grid_texts.py", PATCH, False),
        ("reports/html/report.html", PATCH, False),
        ("reports/captions.py", PATCH, False),
        ("runs/past_run.py", ATTENTION, True),
    ],
)
def test_what_the_job_can_import_counts(package, forget, edited, modules, changes):
    before, content = sha256_of_code(modules), (package / edited).read_bytes()
    (package / edited).write_bytes(content + b"\n# edited\n")
    assert sha256_of_code(modules) == before  # this process has the code that it had
    forget()
    assert (sha256_of_code(modules) != before) == changes
    (package / edited).write_bytes(content)
    forget()
    assert sha256_of_code(modules) == before


def test_a_new_task_or_figure_voids_nothing(package, forget):
    before = sha256_of_code(PATCH)
    (package / "tasks" / "mine.py").write_text("class MyTask: ...\n")
    (package / "reports" / "plots" / "new.py").write_text("")
    forget()
    assert sha256_of_code(PATCH) == before


def test_a_plug_in_counts_with_what_it_imports_of_the_users_own(tmp_path, monkeypatch, forget):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_plugin", raising=False)
    (tmp_path / "my_plugin.py").write_text("import numpy\nfrom my_names import NAMES\nfrom ioi_lab.tasks import ioi\n")
    (tmp_path / "my_names.py").write_text("NAMES = 1\n")
    modules = frozenset({"my_plugin"})
    before = sha256_of_code(modules)
    for name in ("my_plugin", "my_names"):
        with (tmp_path / f"{name}.py").open("a") as file:
            file.write("# edited\n")
        forget()
        assert sha256_of_code(modules) != before
        before = sha256_of_code(modules)
    (tmp_path / "my_names.py").write_text("NAMES = (\n")  # half written
    forget()
    assert sha256_of_code(modules) != before
    assert "my_plugin" not in sys.modules


def test_a_plug_in_that_is_installed_counts_too(tmp_path, monkeypatch, forget):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code, "_installed", lambda: (tmp_path.resolve(),))
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / name / "part.py").write_text("import other.part\n" if name == "mine" else "")
    before = sha256_of_code(frozenset({"mine.part"}))
    (tmp_path / "other" / "part.py").write_text("x = 1\n")  # a library of it
    forget()
    assert sha256_of_code(frozenset({"mine.part"})) == before
    (tmp_path / "mine" / "data.txt").write_text("a name\n")
    forget()
    assert sha256_of_code(frozenset({"mine.part"})) != before


def test_what_has_no_source_counts_as_nothing(forget):
    empty = sha256_of_code(frozenset())
    assert sha256_of_code(frozenset({"builtins", "nowhere", "sys", "nowhere.at.all"})) == empty


def test_dotted_names_in_a_config_are_modules_if_they_are_imported():
    config = {
        "task": {"_target_": "ioi_lab.tasks.ioi.IOITask", "text": "When John. Mary", "path": "a.csv"},
        "intervention": {"lens": [{"_target_": "ioi_lab.runs.code.not_imported.Lens"}], "n": 3},
        "old": "ioi_lab.runs.Sweep",
    }
    import ioi_lab.tasks.ioi  # noqa: F401

    assert list(modules_named_in(config)) == ["ioi_lab.tasks.ioi", "ioi_lab.runs.code", "ioi_lab.runs"]


def test_all_that_the_modules_have_imported_is_found(monkeypatch, forget):
    """The oracle is what Python has put into their namespaces: what is not found could be edited unseen."""
    found = set()
    plain = code._read
    with monkeypatch.context() as patch:
        patch.setattr(code, "_read", lambda name, file: found.add(name) or plain(name, file))
        sha256_of_code(PATCH | {"ioi_lab.jobs.shared_passes"})
    gives_parts_on_demand = {"ioi_lab"}  # other tests may have asked it for parts that it does not import
    there = {name for name in found - gives_parts_on_demand if name in sys.modules}
    used = {getattr(part, "__module__", None) for name in there for part in vars(sys.modules[name]).values()}
    used = {name for name in used if str(name).startswith("ioi_lab.") and code._decides_results(name)}
    assert len(used) > 20
    assert used <= found
