"""Positions that leave some labels out."""

from __future__ import annotations

from ioi_lab.tasks.positions import all_but, labels_but


def test_what_is_left_out_is_read_back():
    assert all_but(["S2", "END"]) == "all but S2,END"
    assert labels_but("all but S2, END") == ["S2", "END"]
