"""Figures and summaries in a notebook."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ioi_lab.python.display import Figures, page


@pytest.fixture
def figures(demo):
    return Figures(demo.folder, ["recovery_by_head", "top_effects"])


def test_a_figure_is_shown_at_half_of_its_pixels_and_takes_less_room_than_its_file(figures):
    figure = figures["recovery_by_head"]
    content, size = figure._repr_png_()
    shown, saved = Image.open(io.BytesIO(content)), Image.open(figure.path)
    assert shown.size == saved.size
    assert size == {"width": saved.width // 2}
    assert len(content) < figure.path.stat().st_size / 2
    difference = np.abs(np.asarray(shown.convert("RGB"), float) - np.asarray(saved.convert("RGB"), float))
    assert difference.mean() < 1  # of 255


def test_a_wrong_name_is_answered_with_the_nearest(figures):
    with pytest.raises(KeyError, match=r"no figure 'recovery_by_heads' \(did you mean 'recovery_by_head'\?\)"):
        figures["recovery_by_heads"]
    assert list(figures) == ["recovery_by_head", "top_effects"]
    assert repr(figures) == "Figures(recovery_by_head, top_effects)"
    assert figures._repr_html_().count("<img ") == 2


def test_texts_on_a_page_are_no_html(figures, tmp_path):
    html = page(["a <b>title</b>", "a \x1b[2Jline"], figures, tmp_path)
    assert "a &lt;b&gt;title&lt;/b&gt;" in html
    assert "a \\x1b[2Jline" in html
    assert html.count("<img ") == 1
    assert "more figures: top_effects" in html
    assert "<img " not in page([], Figures(tmp_path, []), tmp_path)
