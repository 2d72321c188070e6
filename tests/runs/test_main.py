"""`python -m ioi_lab.runs`."""

from __future__ import annotations

import sys

import pytest

from ioi_lab.runs.__main__ import main


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["runs", *arguments])
        main()
        return capsys.readouterr().out

    return run


def test_ls_prints_a_line_per_run(command, leave, tmp_path):
    leave("patch/now/0", {"intervention.layer": 0}, best_recovery=0.5)
    leave("patch/now/1", {"intervention.layer": 1}, status="failed", error="no")
    lines = command("ls", str(tmp_path)).splitlines()
    assert lines[0].split() == ["run", "model", "intervention", "headline", "status", "seconds", "age"]
    assert lines[1].split()[:7] == ["patch/now/0", "tiny-gpt2", "patch", "best_recovery", "0.500", "done", "1.5"]
    assert lines[2].split()[:4] == ["patch/now/1", "tiny-gpt2", "patch", "failed"]


def test_compare_shows_what_differs(command, leave):
    one = leave("a", {"intervention.layer": 0}, best_recovery=0.5, best_recovery_low=0.4, best_recovery_high=0.6)
    other = leave("b", {"intervention.layer": 3}, best_recovery=0.75)
    lines = command("compare", str(one), str(other)).splitlines()
    assert lines[0].split() == ["a", "b", "difference"]
    assert lines[1].split() == ["intervention.layer", "0", "3"]
    assert lines[2].split() == ["best_recovery", "0.5", "[0.4,", "0.6]", "0.75", "+0.25"]
    assert not any("task.n" in line for line in lines)


def test_a_name_and_latest_stand_for_the_latest_run(command, leave, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leave("runs/demo/1", {"intervention.layer": 0}, best_recovery=0.5)
    leave("runs/demo/2", {"intervention.layer": 3}, best_recovery=0.75)
    lines = command("compare", "runs/demo/1", "runs/demo").splitlines()
    assert lines[0].split() == ["1", "2", "difference"]
    assert [line.split()[0] for line in command("ls", "latest").splitlines()] == ["run", "."]
    (tmp_path / "runs" / "demo" / "multirun.yaml").touch()
    assert [line.split()[0] for line in command("ls", "latest").splitlines()] == ["run", "1", "2"]


def test_axes_are_options_and_a_wrong_name_ends_with_one_line(command, leave, tmp_path, monkeypatch):
    for layer, head in ((0, 0), (0, 1), (1, 0), (1, 1)):
        typed = {"intervention.layer": layer, "intervention.head": head}
        leave(f"sweep/{layer}{head}", typed, best_recovery=layer + head / 10)
    out = command("summarize", str(tmp_path / "sweep"), "--x", "layer", "--line", "intervention.head")
    assert "best_recovery_by_layer_head" in out
    assert "chosen" not in out
    with pytest.raises(
        SystemExit, match=r"^error: --x: got 'layr' \(did you mean layer\?\), expected one of layer, head$"
    ):
        command("summarize", str(tmp_path / "sweep"), "--x", "layr")


def test_summarize_writes_into_the_folder(command, leave, tmp_path):
    for layer in range(3):
        leave(f"sweep/{layer}", {"intervention.layer": layer}, best_recovery=layer / 10)
    out = command("summarize", str(tmp_path / "sweep"))
    assert "3 runs (3 done)" in out
    assert (tmp_path / "sweep" / "sweep.csv").is_file()
    assert (tmp_path / "sweep" / "plots" / "best_recovery_by_layer.png").is_file()
    assert "best_recovery_by_layer.pdf" in command("summarize", str(tmp_path / "sweep"), "--format", "pdf")
    assert (tmp_path / "sweep" / "plots" / "best_recovery_by_layer.pdf").is_file()
    with pytest.raises(SystemExit, match=r"^error: --format: got 'gif', expected one of png, pdf, svg$"):
        command("summarize", str(tmp_path / "sweep"), "--format", "gif")


def test_report_writes_the_page_of_a_run_or_a_sweep(command, leave, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for layer in range(2):
        leave(f"runs/heads/now/{layer}", {"intervention.layer": layer}, best_recovery=layer / 10)
    assert command("report", "runs/heads/now/1").strip() == "runs/heads/now/1/report.html"
    assert (tmp_path / "runs/heads/now/1/report.html").is_file()
    (tmp_path / "runs/heads/now/multirun.yaml").touch()
    command("report", "runs/heads/now")
    assert "depend on layer?" in (tmp_path / "runs/heads/now/report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["report", "nowhere"], "'nowhere' is not a run folder: it has no status.json"),
        (["ls", "nowhere"], "'nowhere' contains no runs"),
        (["summarize", "nowhere"], "'nowhere' contains no runs"),
        (["summarize", "sweep", "--metric", "x"], "metric: got 'x', expected one of best_recovery"),
        (
            ["compare", "sweep", "sweep/0"],
            "'sweep' is the folder of a sweep; expected one of its runs, such as sweep/0",
        ),
        (["compare", "latest", "sweep/0"], "'latest' is not a run folder: it has no status.json"),
        (["workspace", "nowhere"], "'nowhere' contains no runs"),
        (["workspace", "sweep"], "'sweep': there is no view of this sweep, since no key was swept in it"),
        (["ls", "latest"], "'latest': there is no finished run in 'runs'"),
    ],
)
def test_mistakes_are_one_line(command, leave, tmp_path, monkeypatch, arguments, line):
    leave("sweep/0", {"intervention.layer": 0}, best_recovery=0.5)
    (tmp_path / "sweep" / "multirun.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        command(*arguments)
    assert str(end.value.code).startswith("error: ")
    assert line in str(end.value.code)
    assert "\n" not in str(end.value.code)


def test_names_of_folders_and_models_are_printed_as_text(command, leave, tmp_path):
    """A folder, a model or an error with an escape sequence is shown, not obeyed."""
    leave("a\x1b[2J/0", {"model.name": "m\u202eb"}, best_recovery=0.5)
    out = command("ls", str(tmp_path))
    assert "a\\x1b[2J" in out
    assert "m\\u202eb" in out
    assert not {"\x1b", "\u202e"} & set(out)
