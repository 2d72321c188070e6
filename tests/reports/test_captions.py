"""The sentences that captions share."""

from __future__ import annotations

from ioi_lab.reports.captions import bands, bars, joined, pale


def test_sentences_say_what_intervals_are_over():
    for text in (pale("sentences"), bars("sentences"), bands("sentences")):
        assert "over sentences" in text
        assert text.endswith(".")


def test_empty_sentences_leave_no_gap():
    assert joined("One.", "", "Two.") == "One. Two."
