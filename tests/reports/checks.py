"""What the report of every run has to have."""

from __future__ import annotations

from collections.abc import Iterable

from ioi_lab.reports.html.page import Page


def check_texts(page: Page) -> None:
    """A report has all of its parts, no figure is without a caption, and each sentence is whole."""
    assert page.question.endswith("?")
    assert page.figures
    assert page.answer
    assert page.limits
    assert page.methods
    captions = {figure.name: figure.caption for figure in page.figures}
    assert all(captions.values()), captions
    texts = [page.question, *page.answer, *page.limits, *captions.values()]
    check_sentences([*texts, *(method.definition for method in page.methods)])


def check_sentences(texts: Iterable[str]) -> None:
    """Each text ends as a sentence does, and no value in it is missing."""
    for text in texts:
        assert text.endswith((".", "?")), text
        assert ".." not in text.replace("...", ""), text
        assert "  " not in text, text
        assert "None" not in text, text
        assert "nan" not in text.split(), text
