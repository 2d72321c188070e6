"""The key `figures`."""

from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from ioi_lab.jobs.experiment import ExperimentKeys
from ioi_lab.runs.figure_files import checked_formats, formats_of_sweep
from ioi_lab.runs.sweeps import Sweep
from tests.conftest import only_run_folder


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, ("png",)),
        (False, ()),
        ({}, ("png",)),
        ({"formats": []}, ()),
        ({"formats": "svg"}, ("png", "svg")),
        ({"formats": ["pdf", "png", "pdf"]}, ("png", "pdf")),
    ],
)
def test_png_files_are_always_among_the_figures(value, written):
    assert ExperimentKeys.from_config({"name": "x", "figures": value}, "").figures.written == written


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("maybe", "figures: got 'maybe', expected true, false, or formats: figures.formats=[png,pdf]"),
        ({"formats": ["gif"]}, "figures.formats.0: got 'gif', expected 'png', 'pdf' or 'svg'"),
        ({"format": ["pdf"]}, "figures.format: no such key"),
    ],
)
def test_a_wrong_format_is_one_line(value, error):
    with pytest.raises(LabError) as caught:
        ExperimentKeys.from_config({"name": "x", "figures": value}, "")
    assert str(caught.value) == error


def test_vector_files_lie_next_to_png_files_and_without_figures_there_is_no_page(sweep, tmp_path):
    quick = ("tracker=none", "task.n=4", "intervention.layer=0")
    assert sweep(*quick, "figures.formats=[pdf]").code == 0
    folder = only_run_folder(tmp_path)
    assert {path.suffix for path in (folder / "plots").iterdir()} == {".png", ".pdf"}
    assert (folder / "report.html").is_file()
    assert sweep(*quick, "figures=false", "name=none").code == 0
    folder = next((tmp_path / "runs" / "none").iterdir())
    assert not (folder / "plots").exists()
    assert not (folder / "report.html").exists()
    assert (folder / "report.json").is_file()


def test_a_sweep_has_the_formats_that_any_of_its_runs_asks_for(leave, tmp_path):
    asked = [False, {}, {"formats": ["png", "pdf"]}, {"formats": "svg"}, {"formats": ["exe"]}, "../x"]
    runs = [leave(f"sweep/{job}", {"figures": figures}) for job, figures in enumerate(asked)]
    assert formats_of_sweep(runs) == ("png", "pdf", "svg")
    assert formats_of_sweep(runs[:2]) == ("png",)
    assert formats_of_sweep([*runs[4:], tmp_path / "nowhere"]) == ("png",)


def test_a_typed_format_is_checked():
    assert checked_formats(["pdf", "svg"]) == ["pdf", "svg"]
    with pytest.raises(LabError, match=r"^--format: got 'pfd' \(did you mean pdf\?\), expected one of png, pdf, svg$"):
        checked_formats(["pfd"])


@pytest.mark.parametrize(
    ("typed", "suffixes"), [(["pdf"], {".png", ".pdf"}), ("svg", {".png", ".svg"}), (None, {".png"})]
)
def test_the_figures_of_a_sweep_have_the_formats_of_its_runs(leave, tmp_path, typed, suffixes):
    for layer in range(2):
        keys = {"intervention.layer": layer} | ({} if typed is None else {"figures.formats": typed})
        leave(f"sweep/now/{layer}", keys, best_recovery=layer / 10)
    files = Sweep.read(tmp_path / "sweep" / "now").write()
    assert {path.suffix for path in (tmp_path / "sweep" / "now" / "plots").iterdir()} == suffixes
    (written,) = files.values()
    assert written[0].suffix == ".png"
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert all(path.read_bytes().startswith(starts[path.suffix]) for path in written)
