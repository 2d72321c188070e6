"""What a page shows, as an address: each view is a path and a query, and an address gives its view back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode

_MAX_QUERY: Final = 20_000
"""The greatest number of characters of a query that are read."""


@dataclass(frozen=True)
class View:
    """The settings of a page: a field per key of the query. Settings with their default do not appear in the address.

    A text is a key, a tuple of texts a key that is repeated, a whole number or None a key with digits.
    """

    @classmethod
    def page(cls) -> str:
        """Return the first part of the path."""
        return cls.__name__.removesuffix("View").lower()

    @classmethod
    def of(cls, folder: str, query: str) -> Self:
        """Return the view of the rest of a path and a query; what is no setting, or no number, is left out."""
        pairs = parse_qsl(query.removeprefix("?")[:_MAX_QUERY], keep_blank_values=True)
        settings: dict[str, Any] = {"folder": folder} if "folder" in {each.name for each in fields(cls)} else {}
        for each in fields(cls):
            values = [value for key, value in pairs if key == each.name]
            if each.name == "folder" or not values:
                continue
            if isinstance(each.default, tuple):
                settings[each.name] = tuple(values)
            elif isinstance(each.default, str):
                settings[each.name] = values[-1]
            elif values[-1].isascii() and values[-1].isdigit() and len(values[-1]) < 10:
                settings[each.name] = int(values[-1])
        return cls(**settings)

    @property
    def path(self) -> str:
        """The path of the address."""
        folder = getattr(self, "folder", "")
        return f"/{self.page()}" + (f"/{quote(folder)}" if folder not in ("", ".") else "")

    @property
    def address(self) -> str:
        """The whole address, from its path on."""
        pairs: list[tuple[str, str]] = []
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name != "folder" and value != each.default:
                pairs += [(each.name, str(part)) for part in (value if isinstance(value, tuple) else [value])]
        return self.path + (f"?{urlencode(pairs)}" if pairs else "")


@dataclass(frozen=True)
class RunsView(View):
    """The table of runs."""

    search: str = ""
    """Words that a run must have in some column."""

    filters: str = ""
    """The filters of columns, as AG Grid has them, in JSON."""

    sort: str = ""
    """Column names in the order in which they sort, each followed by `:asc` or `:desc`, with commas between them."""

    @property
    def path(self) -> str:
        """The path of the address: the table is the first page."""
        return "/"


@dataclass(frozen=True)
class RunView(View):
    """A run."""

    folder: str = ""
    tab: str = ""
    metric: str = ""
    cut: tuple[str, ...] = ()
    """The values of selectors that are no axis: `scale=4.0`."""

    row: int | None = None
    """The row of `results.csv` whose prompts are shown."""


@dataclass(frozen=True)
class CompareView(View):
    """Runs next to each other."""

    run: tuple[str, ...] = ()
    metric: str = ""
    cut: tuple[str, ...] = ()


@dataclass(frozen=True)
class SweepView(View):
    """The runs of a folder, by the keys in which they differ."""

    folder: str = ""
    kind: str = ""
    x: str = ""
    line: str = ""
    facet: str = ""
    metric: str = ""


@dataclass(frozen=True)
class CircuitView(View):
    """A circuit of a size, as a graph."""

    folder: str = ""
    method: str = ""
    size: int | None = None


@dataclass(frozen=True)
class SiteView(View):
    """A head or a layer, in all runs."""

    site: str = ""
    model: str = ""
    metric: str = ""


VIEWS: tuple[type[View], ...] = (RunsView, RunView, CompareView, SweepView, CircuitView, SiteView)


def view_at(pathname: str, query: str) -> View | None:
    """Return the view of an address; None if no page has it."""
    page, _, folder = pathname.strip("/").partition("/")
    if page == "":
        return RunsView.of("", query)
    for view in VIEWS[1:]:
        if page == view.page() and (not folder or "folder" in {each.name for each in fields(view)}):
            return view.of(unquote(folder), query)
    return None
