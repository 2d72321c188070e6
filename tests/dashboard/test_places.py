"""Which files may be read: none outside of the runs folder, whatever a name says."""

from __future__ import annotations

import os

import pytest

from ioi_lab.dashboard.places import RunsFolder


@pytest.fixture
def runs(tmp_path, runs_folder):
    (runs_folder / "demo").mkdir()
    (runs_folder / "demo" / "results.csv").write_text("layer\n0\n")
    (runs_folder / "demo" / ".hidden.csv").write_text("x")
    (tmp_path / "secret.csv").write_text("secret")
    (tmp_path / "runs-of-others").mkdir()
    (tmp_path / "runs-of-others" / "results.csv").write_text("secret")
    return RunsFolder(runs_folder)


def test_files_inside_are_found(runs):
    assert runs.file("demo/results.csv") == runs.path / "demo" / "results.csv"
    assert runs.file(".") == runs.path / "."
    assert runs.sent_file("demo/results.csv") is not None


@pytest.mark.parametrize(
    "name",
    [
        "../secret.csv",
        "demo/../../secret.csv",
        "demo/../demo/results.csv",
        "../runs-of-others/results.csv",
        "demo//results.csv",
        "./demo/results.csv",
        "demo\\results.csv",
        "demo/.hidden.csv",
        "demo/results.csv\0.png",
        "demo/results.csv\n",
        "demo/none.csv",
        "",
    ],
)
def test_names_that_lead_out_or_hide_are_refused(runs, name):
    assert runs.file(name) is None


def test_absolute_paths_are_refused(runs, tmp_path):
    assert runs.file(str(tmp_path / "secret.csv")) is None
    assert runs.file(str(runs.path / "demo" / "results.csv")) is None


def test_links_that_lead_out_are_refused_and_others_followed(runs, tmp_path):
    (runs.path / "demo" / "out.csv").symlink_to(tmp_path / "secret.csv")
    (runs.path / "demo" / "in.csv").symlink_to("results.csv")
    (runs.path / "others").symlink_to(tmp_path / "runs-of-others")
    (runs.path / "loop").symlink_to("loop")
    assert runs.file("demo/out.csv") is None
    assert runs.file("others/results.csv") is None
    assert runs.file("loop") is None
    assert runs.sent_file("demo/in.csv") is not None


def test_only_plain_files_of_known_kinds_are_sent(runs):
    (runs.path / "demo" / "key.pem").write_text("secret")
    os.mkfifo(runs.path / "demo" / "pipe.csv")
    assert runs.sent_file("demo") is None
    assert runs.sent_file("demo/key.pem") is None
    assert runs.sent_file("demo/pipe.csv") is None


def test_the_folder_may_itself_be_a_link(runs, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(runs.path)
    linked = RunsFolder(link)
    assert linked.sent_file("demo/results.csv") is not None
    assert linked.name_of(link / "demo") == "demo"


def test_folders_behind_links_that_lead_out_have_no_name(runs, tmp_path):
    (runs.path / "others").symlink_to(tmp_path / "runs-of-others")
    (runs.path / "again").symlink_to("demo")
    assert runs.name_of(runs.path / "others") is None
    assert runs.name_of(runs.path / "others" / "below") is None
    assert runs.name_of(runs.path / "again") == "again"
    assert runs.name_of(runs.path / "demo" / "3") == "demo/3"
    assert runs.name_of(runs.path) == "."
    assert runs.name_of(runs.path / os.fsdecode(b"\xff")) is None
