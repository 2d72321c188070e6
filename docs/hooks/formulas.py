"""Formulas as MathML: what `pymdownx.arithmatex` marks in a page is converted while the site is built."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

_MARKED = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\s*(?:\\\((?P<inline>.*?)\\\)|\\\[(?P<display>.*?)\\\])\s*</(?P=tag)>',
    re.DOTALL,
)


def with_formulas(page: str) -> str:
    """Return the HTML of a page with its formulas as MathML."""
    return _MARKED.sub(_math, page)


def _math(formula: re.Match[str]) -> str:
    inline, display = formula["inline"], formula["display"]
    latex = html.unescape(inline if display is None else display).strip()
    return str(convert(latex, display="inline" if display is None else "block"))
