"""Run folders in any state: every command shows one line for each and goes on with the rest."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ioi_lab.errors import LabError
from ioi_lab.reports.report import Report
from ioi_lab.runs.__main__ import main
from ioi_lab.runs.finding import run_folders
from ioi_lab.runs.folder import RunFolder
from ioi_lab.runs.past_run import PastRun
from ioi_lab.runs.progress import Progress
from ioi_lab.runs.reading import finished_runs, is_done, read_run, read_status, report_files
from ioi_lab.runs.resume import earlier_run, put_aside_what_is_no_folder, record_finished_runs
from ioi_lab.runs.summary import sum_up
from ioi_lab.runs.table import load_runs

IDENTITY = {"config": "a", "code": "b"}
CONFIG = "name: x\nmodel: {name: toy}\nintervention: {name: patch, layer: 0}\ntracker: {name: none}\n"


def finished(path: Path) -> Path:
    """A run as the lab leaves it."""
    run = RunFolder(path)
    run.start(CONFIG, "sweep.py")
    report = Report(pd.DataFrame({"layer": [0, 1, 2]}), {"x": 1.0}, dict, files={"page.html": b"<p>"}, headline="x")
    run.write_report(report, figures=())
    (path / "plots").mkdir()
    run.finish({"identity": IDENTITY, "model": {"name": "toy", "weights_sha256": "abc"}})
    (path / ".lock").touch()
    return path


def rewritten(name: str, content: bytes | str):
    def damage(run):
        (run / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


def in_status(**changes):
    def damage(run):
        path = run / "status.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def cut(name):
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:-2])


def linked(name, target="nowhere"):
    def damage(run):
        (run / name).unlink()
        (run / name).symlink_to(target)

    return damage


def replaced_by(make):
    def damage(run):
        shutil.rmtree(run)
        make(run)

    return damage


def folder_in_place_of(name):
    def damage(run):
        (run / name).unlink()
        (run / name).mkdir()

    return damage


def pipe_in_place_of(name):
    def damage(run):
        (run / name).unlink()
        os.mkfifo(run / name)

    return damage


def unreadable(run):
    """As for another user: root may read everything."""
    (run / "status.json").unlink()
    (run / "status.json").symlink_to("status.json")


DAMAGE = {
    "status is empty": rewritten("status.json", ""),
    "status is no JSON": rewritten("status.json", '{"status": "done"'),
    "status is a list": rewritten("status.json", "[]"),
    "status is deep": rewritten("status.json", "[" * 100_000),
    "status is not UTF-8": rewritten("status.json", b'{"status": "\xff"}'),
    "status has half a character": rewritten("status.json", r'{"status": "failed", "error": "\ud800"}'),
    "status is unknown": in_status(status="finished"),
    "status is a list in an object": in_status(status=["done"]),
    "status is a folder": folder_in_place_of("status.json"),
    "status is a pipe": pipe_in_place_of("status.json"),
    "status is a broken link": linked("status.json"),
    "status is a link to itself": unreadable,
    "files lead out": in_status(files={"../x": {}}),
    "files are elsewhere": in_status(files={"/etc/passwd": {}}),
    "files have odd stamps": in_status(files={"results.csv": {"bytes": "1"}}),
    "files have odd names": in_status(files={"a\0b": {}, "\ud800": {}}),
    "metrics are cut": cut("metrics.json"),
    "metrics are empty": rewritten("metrics.json", "{}"),
    "metrics are text": rewritten("metrics.json", '{"x": "high"}'),
    "metrics are a pipe": pipe_in_place_of("metrics.json"),
    "metrics are a folder": folder_in_place_of("metrics.json"),
    "table is cut": cut("results.csv"),
    "table is empty": rewritten("results.csv", ""),
    "table lacks rows": rewritten("results.csv", "layer\n0\n"),
    "table is a link": linked("results.csv", "/etc/hostname"),
    "table is a folder": folder_in_place_of("results.csv"),
    "page is cut": cut("page.html"),
    "page is gone": lambda run: (run / "page.html").unlink(),
    "provenance is cut": cut("provenance.json"),
    "provenance is a list": rewritten("provenance.json", "[1]"),
    "config is no YAML": rewritten("config.yaml", "a: ["),
    "config is text": rewritten("config.yaml", "patch"),
    "config has odd keys": rewritten("config.yaml", "{? [1, 2] : 3, 2001-01-01: 4}"),
    "config has a date that is none": rewritten("config.yaml", "a: 2001-99-99"),
    "config is deep": rewritten("config.yaml", "[" * 200_000),
    "config is a bomb": rewritten(
        "config.yaml",
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    ),
    "typed is no list": lambda run: (run / ".hydra").mkdir() or rewritten(".hydra/overrides.yaml", "a: 1")(run),
    "plots are a link": lambda run: (run / "plots").rmdir() or (run / "plots").symlink_to("/etc"),
    "folder is a broken link": replaced_by(lambda run: run.symlink_to("nowhere")),
    "folder is a link to itself": replaced_by(lambda run: run.symlink_to(run.name)),
    "folder is a file": replaced_by(lambda run: run.write_text("")),
}
"""Ways to damage the run in a folder, each of which leaves one run that is not done."""

HARMLESS = {
    "files are numbers": in_status(files=[1, None, {}]),  # as a run of an earlier version, which has no sizes
    "files are a number": in_status(files=3, headline=["x"], started=1, updated={}),
    "clock is wrong": in_status(started="2999-01-01T00:00:00Z", updated="1970-01-01T00:00:00Z"),
    "clock is in the future": in_status(updated="2999-01-01T00:00:00Z"),
    "clock has no zone": in_status(updated="2026-01-01T00:00:00"),
    "clock is none": in_status(updated="yesterday", started="0000-13-99"),
    "seconds are text": rewritten("provenance.json", json.dumps({"seconds": "1", "identity": 3, "modules": 4})),
    "figures are gone": lambda run: (run / "plots").rmdir(),
    "name has a new line": lambda run: run.rename(run.with_name("1\n\x1b[31m2")),
    "name is not UTF-8": lambda run: os.rename(run, os.fsencode(run.parent) + b"/\xff"),
    "name has an odd digit": lambda run: run.rename(run.with_name("²")),
    "folder is linked": lambda run: (
        run.rename(run.parents[1] / "elsewhere") and run.symlink_to(run.parents[1] / "elsewhere")
    ),
}
"""What leaves a run that is done."""


@pytest.fixture
def lab(monkeypatch, capsys):
    """`lab("ls", folder)`: the lines that the command prints; a mistake is one line."""

    def lab(*arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["runs", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            return [str(end.code)]
        return capsys.readouterr().out.split("\n")[:-1]

    return lab


@pytest.mark.parametrize("kind", [*DAMAGE, *HARMLESS])
def test_every_command_shows_one_line_and_goes_on(lab, tmp_path, kind, caplog):
    sweep = tmp_path / "sweep"
    for name in ("0", "1", "2"):
        finished(sweep / name)
    run = sweep / "1"
    {**DAMAGE, **HARMLESS}[kind](run)
    done = 3 if kind in HARMLESS else 2
    listed = lab("ls", sweep)
    assert len(listed) == 4, "\n".join(listed)
    assert all(line.isprintable() for line in listed)
    assert sum(" done" in line for line in listed) == done, "\n".join(listed)
    assert len(caplog.messages) <= 1
    summary = lab("summarize", sweep)
    assert summary[0].startswith(f"{sweep}: 3 runs ({done} done")
    assert len(summary) == 2 + (3 - done)  # the runs, the page, and a line per run that is not done
    assert len(pd.read_csv(sweep / "sweep.csv")) == 3
    sum_up(sweep)
    assert len(list(finished_runs(run_folders(sweep)))) in (2, 3)
    Progress(sweep, 3).close()
    if kind in HARMLESS:
        return
    if kind == "typed is no list":  # which is no part of the run's own files
        return
    assert not is_done(run)
    assert read_run(run).reason
    with pytest.raises(LabError, match=r"^key: "):
        PastRun.read(str(run), "key")
    compared = lab("compare", sweep / "0", run)
    assert len(compared) > 3 or compared[0].startswith("error: ")
    assert all(line.isprintable() for line in compared)


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if not kind.startswith("typed")])
def test_the_same_run_heals_every_damage(tmp_path, kind):
    run = finished(tmp_path / "1")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    DAMAGE[kind](run)
    put_aside_what_is_no_folder(tmp_path)
    again = finished(run) if not (run / "status.json").is_dir() else run
    if kind != "status is a folder":  # which the job reports
        assert read_run(again, contents=True).is_done
    assert (outside / "mine.txt").read_text() == "mine"


def test_contents_are_compared_if_asked(tmp_path):
    run = finished(tmp_path)
    path = run / "results.csv"
    path.write_text(path.read_text().replace("2", "3"))
    assert read_run(run).is_done
    assert read_run(run, contents=True).reason == "results.csv has changed since it was written"


@pytest.mark.parametrize(
    "names",
    [["../outside/mine.txt"], ["/OUTSIDE/mine.txt"], ["link/mine.txt"], ["plots/mine.txt"], [".hydra", "wandb"]],
)
def test_a_status_makes_nothing_outside_be_deleted_or_read(tmp_path, names):
    outside, run = tmp_path / "outside", finished(tmp_path / "run")
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    (run / "link").symlink_to(outside)
    (run / "plots").rmdir()
    (run / "plots").symlink_to(outside)
    for folder in (".hydra", "wandb"):
        (run / folder).mkdir()
        (run / folder / "mine.txt").touch()
    names = [name.replace("/OUTSIDE", str(outside)) for name in names]
    in_status(files={name: {"bytes": 4} for name in names})(run)
    assert "mine" not in " ".join(report_files(read_status(run))) or names == ["plots/mine.txt"]
    assert not RunFolder(tmp_path / "copy").take_over(run, IDENTITY)
    RunFolder(run).start(CONFIG, "sweep.py")
    assert (outside / "mine.txt").read_text() == "mine"
    assert all((run / folder / "mine.txt").is_file() for folder in (".hydra", "wandb"))
    assert not (run / "plots").exists()


def test_a_linked_file_is_neither_taken_over_nor_shown(tmp_path):
    run = finished(tmp_path / "run")
    secret = tmp_path / "secret"
    secret.write_bytes(b"<p>")
    linked("page.html", secret)(run)
    assert not RunFolder(tmp_path / "copy").take_over(run, IDENTITY)
    assert RunFolder(run).media() == {}


def test_a_run_that_was_killed_is_stopped(tmp_path):
    run = RunFolder(tmp_path / "0")
    with run.locked():
        run.start(CONFIG, "sweep.py")
        assert read_run(run.path).state == "running"
    assert read_run(run.path).state == "stopped"
    (run.path / ".lock").unlink()
    assert read_run(run.path).state == "stopped"
    assert load_runs(tmp_path)["status"].tolist() == ["stopped"]


def test_looking_at_a_run_takes_no_lock_from_it(tmp_path):
    run = RunFolder(tmp_path)
    run.start(CONFIG, "sweep.py")
    with run.locked():
        pass
    assert read_run(tmp_path).state == "stopped"
    with (tmp_path / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_damage_in_other_sweeps_hinders_no_sweep(tmp_path):
    for number, damage in enumerate(DAMAGE.values()):
        damage(finished(tmp_path / "old" / str(number)))
    finished(tmp_path / "old" / "whole")
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "file").touch()
    (tmp_path / "new").mkdir()
    record_finished_runs(tmp_path / "new")
    found = earlier_run(tmp_path / "new", IDENTITY)
    assert found is not None
    assert RunFolder(tmp_path / "new" / "0").take_over(tmp_path / "old" / "whole", IDENTITY)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["status", "files", "error", "headline", "started", "updated", "seconds", "identity", "modules", "taken_from", "x"]
)
CONTENTS = st.binary(max_size=40) | st.dictionaries(KEYS, VALUES, max_size=5).map(
    lambda value: json.dumps(value).encode()
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["status.json", "metrics.json", "provenance.json", "config.yaml"]), content=CONTENTS)
@example(name="status.json", content=b'{"status": "done", "files": {"plots": {}}}')
@example(name="config.yaml", content=b'{"","x":[]}')
@example(name="config.yaml", content=b"a: !!python/object:os.system {}\n")
def test_no_bytes_are_an_error(tmp_path, name, content):
    run = tmp_path / "0"
    if not run.exists():
        finished(run)
    before = (run / name).read_bytes()
    try:
        (run / name).write_bytes(content)
        for thorough in (False, True):
            record = read_run(run, contents=thorough)
            assert record.is_done or record.reason is None or record.reason.isprintable() or record.state == "failed"
        row = load_runs(tmp_path).iloc[0]
        assert row["status"] in ("running", "stopped", "done", "failed", "damaged")
        assert str(row["folder"]).isprintable()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["runs", "ls", str(tmp_path)])
            main()
    finally:
        (run / name).write_bytes(before)
