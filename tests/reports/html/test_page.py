"""What a report says, apart from how it looks."""

from __future__ import annotations

from ioi_lab.reports.html.page import Page


def test_a_page_needs_a_title_only():
    page = Page("patch z · tiny-gpt2 · ioi")
    assert (page.question, page.answer, page.prompts, page.command) == ("", (), None, "")
