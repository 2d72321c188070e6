"""Which key of a sweep is which axis of its figure: chosen by the user, or by what the keys are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ioi_lab.errors import LabError, did_you_mean
from ioi_lab.runs.measurements import Measurements

MAX_LINES: Final = 8
"""The greatest number of lines in a panel that is chosen by itself: more become a map."""

_PLACES: Final = ("head", "position")
"""Keys whose values are positions in the model, such as heads, and not amounts."""


@dataclass(frozen=True)
class Axes:
    """The axes of a figure, by the labels of their keys."""

    x: str | None = None
    line: str | None = None
    facet: tuple[str, ...] = ()
    """The keys of which each combination has a panel of its own."""

    is_map: bool = False
    """Whether lines are the rows of maps instead."""

    chosen: tuple[str, ...] = ()
    """Which of them were not asked for, as typed: `line=layer`."""

    @property
    def keys(self) -> list[str]:
        """The keys of all axes."""
        return [key for key in (self.x, self.line, *self.facet) if key is not None]


@dataclass(frozen=True)
class Asked:
    """The axes that somebody has asked for; None for what is to be chosen."""

    x: str | None = None
    line: str | None = None
    facet: str | None = None

    def labelled(self, names: dict[str, str]) -> Asked:
        """Return the same with labels for keys, given the label of each name that can be asked for.

        Raises a `LabError` for a name that there is not, and for one that stands for two axes.
        """
        found: dict[str, str] = {}
        for option in ("x", "line", "facet"):
            name = getattr(self, option)
            if name is None:
                continue
            if name not in names:
                choices = ", ".join(dict.fromkeys(names.values()))
                raise LabError(f"--{option}: got {name!r}{did_you_mean(name, names)}, expected one of {choices}")
            if names[name] in found.values():
                raise LabError(f"--{option}: got {name!r}, which is another axis already; expected another key")
            found[option] = names[name]
        return replace(self, **found)


ANYTHING: Final = Asked()
"""Nothing was asked for."""


def chosen_axes(measured: Measurements, asked: Asked = ANYTHING) -> Axes:
    """Return the axes of a figure: what was asked for, and for the rest what the keys suggest.

    Numbers are along the x axis, the scale first, else the key with the most values; of the others, the layer or
    the key with the most values has a line per value, and each combination of the rest a panel. Layers by places
    (heads, positions), and more than `MAX_LINES` lines, are maps.
    """
    fixed = [key for key in (asked.x, asked.line, asked.facet) if key is not None]
    free = [key for key in measured.keys if key not in fixed]
    is_map = False
    x, line, facets = asked.x, asked.line, [asked.facet] if asked.facet else []
    if x is None and free:
        x = _along(measured, free)
        free.remove(x)
    if x is None and not measured.keys and measured.replicates and asked.line is None:
        x = measured.replicates[0]
    if line is None and free and x is not None:
        line = _per_line(measured, x, free)
        if line is not None:
            free.remove(line)
    facets += free
    if line is not None and x is not None:
        is_wide = asked.line is None and len(measured.values(line)) > MAX_LINES
        is_map = (is_wide or (_is_place(x) and line == "layer" and asked.x is None)) and _is_dense(measured, x, line)
    named = {"x": x, "line": line, "facet": " × ".join(facets) or None}
    taken = {"x": asked.x, "line": asked.line, "facet": asked.facet}
    new = tuple(f"{name}={key}" for name, key in named.items() if key is not None and key != taken[name])
    return Axes(x, line, tuple(facets), is_map, new)


def _along(measured: Measurements, free: Sequence[str]) -> str:
    """Return the key of the x axis."""
    numbers = [key for key in free if measured.is_number(key) and not _is_place(key)]
    if "scale" in numbers:
        return "scale"
    places = [key for key in free if _is_place(key)]
    if places and numbers in ([], ["layer"]) and "layer" in free:
        return places[0]
    return max(numbers or free, key=lambda key: (len(measured.values(key)), -free.index(key)))


def _per_line(measured: Measurements, x: str, free: Sequence[str]) -> str | None:
    """Return the key with a line per value: the layer, else rather a swept key, and one with few values."""
    if "layer" in free and (_is_place(x) or len(measured.values("layer")) <= MAX_LINES):
        return "layer"
    few = [key for key in free if len(measured.values(key)) <= MAX_LINES]
    return max(few or free, key=lambda key: (key in measured.labels, len(measured.values(key)), -free.index(key)))


def _is_place(key: str) -> bool:
    return key.split(".")[-1] in _PLACES


def _is_dense(measured: Measurements, x: str, line: str) -> bool:
    """Return whether most cells of a map would have a value, unlike those of a search."""
    places = measured.table[[x, line]].drop_duplicates()
    return 2 * len(places) > len(measured.values(x)) * len(measured.values(line))
