"""The key `figures`: whether figures are drawn, and the formats of their files."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from ioi_lab.config import LabConfig

Format = Literal["png", "pdf", "svg"]
PNG: Final[Format] = "png"


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class FigureFiles(LabConfig):
    """The files of figures. PNG files are always among them: report.html, notebooks and W&B show these."""

    formats: Annotated[list[Format], BeforeValidator(_as_list)] = Field(default_factory=lambda: [PNG])
    """`png`, and `pdf` or `svg` for vector files; an empty list draws no figures."""

    @property
    def written(self) -> tuple[Format, ...]:
        """The formats of the files that are written, each once; none if no figures are drawn."""
        return tuple(dict.fromkeys((PNG, *self.formats))) if self.formats else ()


def _with_formats(value: Any) -> Any:
    """Return the keys that a short form stands for: `figures=false` or `figures=true`."""
    if isinstance(value, bool):
        return FigureFiles() if value else FigureFiles(formats=[])
    if not isinstance(value, dict | FigureFiles):
        raise ValueError("true, false, or formats: figures.formats=[png,pdf]")
    return value


Figures = Annotated[FigureFiles, BeforeValidator(_with_formats)]
"""The type of the key."""
