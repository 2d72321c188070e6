"""The key `figures`."""

from __future__ import annotations

import pytest

from ioi_lab.errors import LabError
from ioi_lab.jobs.experiment import ExperimentKeys
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
