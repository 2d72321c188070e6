"""What a report says, apart from how it looks: the question, its answer, and all that a reader needs to judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ioi_lab.reports.definitions import Method

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PageFigure:
    """A figure of a page."""

    name: str
    image: bytes | Path
    """A PNG."""

    caption: str = ""
    """Sentences that say how to read it."""


@dataclass(frozen=True)
class PageTable:
    """A table of a page."""

    name: str
    data: pd.DataFrame
    caption: str = ""
    file: str = ""
    """The CSV file that has all of its rows."""


@dataclass(frozen=True)
class Page:
    """A report, or a part of one. Whatever is empty is left out."""

    title: str
    question: str = ""
    """One sentence that ends in a question mark."""

    answer: Sequence[str] = ()
    """Plain sentences with numbers, intervals and controls."""

    details: Sequence[str] = ()
    """The lines of the terminal; those that begin with two blanks belong to the line before them."""

    figures: Sequence[PageFigure] = ()
    tables: Sequence[PageTable] = ()
    prompts: pd.DataFrame | None = None
    methods: Sequence[Method] = ()
    limits: Sequence[str] = ()
    """Sentences on what the numbers do not show."""

    command: str = ""
    """The shell command that makes the report again."""

    config: str = ""
    """The resolved config as YAML."""

    provenance: Mapping[str, Any] = field(default_factory=dict)
