"""The report of a finished run, read back from its folder."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from ioi_lab.errors import LabError
from ioi_lab.reports.html.render import render
from ioi_lab.reports.report import Report
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.pages import page_of, parts_of, write_page
from ioi_lab.runs.reading import read_run


def test_what_a_report_says_is_read_back(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start("name: x\n", "sweep.py")
    report = Report(
        pd.DataFrame({"layer": [0]}), {"x": 1.0}, dict, ["title", "a line"], question="Which?", answer=["This one."]
    )
    folder.write_report(report)
    folder.finish({"seed": 0})
    page = page_of(tmp_path)
    assert (page.title, page.question, page.answer, page.details) == ("title", "Which?", ["This one."], ["a line"])
    assert "Which?" in (tmp_path / "report.html").read_text()


def test_a_folder_without_a_run_is_an_empty_page(tmp_path):
    assert page_of(tmp_path).title == tmp_path.name


def test_a_run_without_a_page_gets_one_and_its_files_stay_whole(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start("name: x\n", "sweep.py")
    folder.write_report(Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, dict, ["title"]), figures=())
    with pytest.raises(LabError, match="is not done but stopped"):
        write_page(tmp_path)
    folder.finish({})
    assert not (tmp_path / "report.html").exists()
    assert "title" in write_page(tmp_path).read_text()
    assert read_run(tmp_path, contents=True).is_done


def test_the_page_of_a_finished_run_is_not_written_again(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start("name: x\n", "sweep.py")
    folder.write_report(Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, dict, ["title"]))
    folder.finish({})
    before = (tmp_path / "report.html").read_bytes()
    assert write_page(tmp_path).read_bytes() == before
    (tmp_path / "report.html").unlink()
    assert read_run(tmp_path, contents=True).is_done
    (tmp_path / "report.html").write_text("edited")
    assert read_run(tmp_path, contents=True).is_done
    (tmp_path / "report.html").unlink()
    assert "title" in write_page(tmp_path).read_text()


def test_texts_of_anybody_are_escaped(tmp_path):
    """Prompts and the names of models may be anybody's, and so may a report.json that somebody left."""
    folder = RunFolder(tmp_path)
    folder.start("model:\n  name: <script>model</script>\n", "sweep.py")
    prompts = pd.DataFrame({"clean": ["When <script>alert(1)</script> and"]})
    title = "patch z · <script>model</script>"
    folder.write_report(Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, dict, [title], prompts=prompts))
    folder.finish({"model": {"name": "<script>model</script>"}})
    text = (tmp_path / "report.html").read_text()
    assert text.count("<script>") == 1
    assert "When &lt;script&gt;alert(1)&lt;/script&gt; and" in text


@pytest.mark.parametrize(
    "content", ["", "[]", '{"answer": 3, "captions": [], "methods": ["x", {"term": 1}], "limits": null}']
)
def test_texts_that_somebody_left_are_no_error(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    page = page_of(tmp_path)
    assert page.answer == page.limits == []


def test_parts_are_in_the_folder_itself(tmp_path):
    study = tmp_path / "study"
    (study / "01-heads").mkdir(parents=True)
    (study / "02-link").symlink_to(tmp_path)
    names = ["01-heads", "02-link", "..", ".", "", "../study"]
    (study / "report.json").write_text(json.dumps({"parts": names}))
    assert [page.title for page in parts_of(study)] == ["heads: 01-heads"]


def test_what_is_no_image_is_left_out(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start("name: x\n", "sweep.py")
    files = {"plots/a.png": b"", "plots/b.png": b"damaged"}
    folder.write_report(Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, dict, files=files))
    folder.finish({"seed": 0})
    assert page_of(tmp_path).figures == []


def test_an_earlier_version_had_no_texts(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start("name: x\n", "sweep.py")
    folder.write_report(Report(pd.DataFrame({"layer": [0]}), {"x": 1.0}, dict, ["title", "a line"]), figures=())
    folder.finish({"seed": 0})
    (tmp_path / "report.json").unlink()
    page = page_of(tmp_path)
    assert (page.title, page.details, page.question) == ("title", ["a line"], "")
    assert [table.name for table in page.tables] == ["results"]
    assert "a line" in render(page)
