"""Pages as HTML: a template with automatic escaping, images as data in the file, and no address that is loaded."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ioi_lab.reports.html.page import Page, PageTable
from ioi_lab.reports.html.tables import shown
from ioi_lab.terminal import printable

if TYPE_CHECKING:
    from jinja2 import Environment

_MAX_LISTED: Final = 8
"""The greatest number of items of a list in the provenance."""


_HYPHEN: Final = re.compile(r"(?<![\w.-])-(?=\d)")
_SCREEN: Final = 120
"""The number of CSS pixels per inch of a figure."""


@dataclass(frozen=True)
class Image:
    """An image in a page."""

    address: str
    width: int


@dataclass(frozen=True)
class Detail:
    """A line of the terminal, with the lines that belong to it."""

    line: str
    rows: list[str]


def render(page: Page, parts: Sequence[Page] = ()) -> str:
    """Return a page as one self-contained HTML text; with `parts`, a contents list and one section per part.

    Texts of any origin are safe: they are escaped, and control characters are shown as escapes. The page loads
    nothing from any address, and its security policy forbids browsers to.
    """
    return _environment().get_template("report.html").render(page=page, parts=parts)


def details_of(lines: Sequence[str]) -> list[Detail]:
    """Return the lines of a summary with the rows, which begin with two blanks, that follow each of them."""
    details: list[Detail] = []
    for line in lines:
        if line.startswith("  ") and details:
            details[-1].rows.append(line[2:])
        else:
            details.append(Detail(line, []))
    return details


def facts_of(provenance: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the entries of nested mappings by their full names: `model.name`."""
    for key, value in provenance.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from facts_of(value, f"{name}.")
        elif isinstance(value, list):
            more = f" and {len(value) - _MAX_LISTED} more" if len(value) > _MAX_LISTED else ""
            yield name, ", ".join(map(str, value[:_MAX_LISTED])) + more
        elif value is not None:
            yield name, str(value)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("ioi_lab.reports", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # what is marked as safe stays
    )
    environment.filters |= {
        "image": image_of,
        "minus": with_minus_signs,
        "shown": shown,
        "details": details_of,
        "facts": lambda provenance: list(facts_of(provenance)),
        "prompts_table": lambda prompts: PageTable("prompts", prompts, file="prompts.csv"),
        "words": lambda name: name.replace("_", " "),
    }
    own = files("ioi_lab.reports.html")
    environment.globals |= {
        name: Markup((own / f"report.{name}").read_text(encoding="utf-8")) for name in ("css", "js")
    }
    return environment


def with_minus_signs(text: str) -> str:
    """Return a sentence with a minus sign instead of the hyphen before each negative number."""
    return _HYPHEN.sub("−", text)


def image_of(image: bytes | Path) -> Image:
    """Return a PNG as data in an address, and the width at which its texts are as large as those of the page."""
    import PIL.Image

    content = image if isinstance(image, bytes) else image.read_bytes()
    with PIL.Image.open(BytesIO(content)) as opened:
        width, per_inch = opened.width, opened.info.get("dpi", (_SCREEN, _SCREEN))[0]
    return Image(f"data:image/png;base64,{b64encode(content).decode()}", round(_SCREEN * width / per_inch))
