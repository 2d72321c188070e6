"""Positions of the form `all but S2,END`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

ALL_BUT: Final = "all but "
"""The start of a position that stands for all tokens except those at some labels."""


def all_but(labels: Sequence[str]) -> str:
    """Return the position that stands for all tokens except those at some labels."""
    return ALL_BUT + ",".join(labels)


def labels_but(position: str) -> list[str]:
    """Return the labels that a position of the form `all but S2,END` excludes."""
    return [label.strip() for label in position.removeprefix(ALL_BUT).split(",")]
