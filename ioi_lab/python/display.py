"""How results look in a notebook: figures that are saved in run folders, and pages made of lines and a figure."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from html import escape
from pathlib import Path

from typing_extensions import override

from ioi_lab.runs.reading import PLOTS
from ioi_lab.terminal import printable


@dataclass(frozen=True)
class Figure:
    """A figure in a run folder; the last value of a cell, it is shown in a notebook."""

    path: Path

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        content = _for_a_notebook(self.path)
        return content, _size(content)


class Figures(Mapping[str, Figure]):
    """The figures of a run or a sweep by name; in a notebook, all of them are shown."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._figures = {name: Figure(folder / PLOTS / f"{name}.png") for name in names}

    @override
    def __getitem__(self, name: str) -> Figure:
        if name in self._figures:
            return self._figures[name]
        near = get_close_matches(name, self._figures, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        has = ", ".join(map(repr, self._figures)) or "none"
        raise KeyError(f"no figure {name!r}{hint}; there are {has}")

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    @override
    def __len__(self) -> int:
        return len(self._figures)

    @override
    def __repr__(self) -> str:
        return f"Figures({', '.join(self._figures)})"

    def _repr_html_(self) -> str:
        return "".join(f"<p>{escape(name)}</p>{image(figure)}" for name, figure in self.items())


def page(lines: Sequence[str], figures: Figures, folder: Path) -> str:
    """Return the lines of a summary, with the first of them as a title, then the first figure, as HTML."""
    title, *rest = lines or [""]
    paragraphs = "".join(f"<div>{escape(printable(line))}</div>" for line in rest)
    others = list(figures)[1:]
    more = f" · more figures: {', '.join(others)}" if others else ""
    first = "".join(image(figure) for figure in list(figures.values())[:1])
    return (
        f'<div style="white-space: pre-wrap"><strong>{escape(printable(title))}</strong>{paragraphs}{first}'
        f"<div><code>{escape(printable(str(folder)))}</code>{escape(more)}</div></div>"
    )


def image(figure: Figure) -> str:
    """Return a figure as HTML, with its content in it."""
    content = _for_a_notebook(figure.path)
    size = "".join(f' {name}="{value}"' for name, value in _size(content).items())
    source = base64.b64encode(content).decode()
    return f'<img src="data:image/png;base64,{source}" alt="{escape(figure.path.stem)}"{size}>'


@lru_cache(maxsize=64)
def _for_a_notebook(path: Path) -> bytes:
    """Return a figure with a palette of 256 colours, a third of the file's size: a notebook keeps what it has shown."""
    from PIL import Image

    content = io.BytesIO()
    with Image.open(path) as figure:
        figure.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(content, "png", optimize=True)
    return content.getvalue()


def _size(png: bytes) -> dict[str, int]:
    """Return the size at which a figure is shown: half of its pixels, which are those of a sharp screen."""
    return {"width": int.from_bytes(png[16:20], "big") // 2}
