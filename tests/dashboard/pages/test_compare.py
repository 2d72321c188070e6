"""The page that compares runs."""

from __future__ import annotations

from ioi_lab.dashboard.pages.compare import content, layout
from ioi_lab.dashboard.views import CompareView


def test_without_two_runs_there_are_words(leave, index_of):
    leave("a")
    index = index_of()
    assert "Choose at least two runs" in str(layout(index, CompareView()))
    assert "There is no run ../secret." in str(content(index, CompareView(("a", "../secret"))))


def test_two_runs_have_keys_maps_differences_and_points(leave, index_of):
    leave("a")
    leave("b", {"seed": 1})
    page = str(content(index_of(), CompareView(("a", "b"))))
    for part in ("compare-keys", "compare-maps", "{'difference': '1'}", "compare-scatter", "paired by prompt"):
        assert part in page


def test_runs_without_values_by_prompt_say_so(leave, index_of):
    leave("a")
    (leave("b") / "per_prompt.parquet").unlink()
    assert "no paired differences, since b keeps no values by prompt" in str(
        content(index_of(), CompareView(("a", "b")))
    )


def test_failed_runs_are_compared_by_their_keys(leave, index_of):
    leave("a", status="failed")
    leave("b", {"seed": 1}, status="failed")
    page = str(content(index_of(), CompareView(("a", "b"))))
    assert "compare-keys" in page
    assert "compare-maps" not in page


def test_at_most_eight_are_compared(leave, index_of):
    for number in range(9):
        leave(f"r{number}", status="failed")
    assert "Only the first 8 runs" in str(content(index_of(), CompareView(tuple(f"r{n}" for n in range(9)))))
