"""The key `figures`: whether figures are drawn, and the formats of their files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from ioi_lab.config import LabConfig
from ioi_lab.errors import LabError, did_you_mean
from ioi_lab.runs.parsing import DamagedError
from ioi_lab.runs.reading import read_config

Format = Literal["png", "pdf", "svg"]
PNG: Final[Format] = "png"
_FORMATS: Final[tuple[Format, ...]] = get_args(Format)


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


def checked_formats(typed: Sequence[str]) -> list[Format]:
    """Return formats that were typed as options `--format`; raises a `LabError` for one that there is not."""
    known = {str(kind): kind for kind in _FORMATS}
    for name in typed:
        if name not in known:
            raise LabError(f"--format: got {name!r}{did_you_mean(name, known)}, expected one of {', '.join(known)}")
    return [known[name] for name in typed]


def formats_of_sweep(runs: Iterable[Path]) -> tuple[Format, ...]:
    """Return the formats of the figures of a sweep: PNG, and whatever the configs of its runs ask for.

    A sweep whose runs draw no figures has some of its own: they are few. A config that cannot be read, or is wrong,
    counts as one without the key.
    """
    asked: dict[Format, None] = {PNG: None}
    for run in runs:
        with suppress(DamagedError, ValidationError):
            asked |= dict.fromkeys(_STORED.validate_python(read_config(run).get("figures", True)).written)
    return tuple(asked)


_STORED: Final = TypeAdapter[FigureFiles](Figures)
