"""The captions of a sweep's figures: what is on the axes, what each mark is, and which runs and prompts it is from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ioi_lab.reports.captions import joined
from ioi_lab.reports.wording import NOT_FOUND, counted, enumerated, sentence
from ioi_lab.runs.key_figures import KeyFigure
from ioi_lab.runs.sweep_figures import SweepFigure

if TYPE_CHECKING:
    import pandas as pd

_PREPOSITIONS: Final = {"model": "on", "task": "with the task", "source": "from", "target": "to"}
"""What comes before the name of what all runs have in common, by its group."""

_CUT: Final = "values below −0.2 are out of the figure"


def caption_of(figure: SweepFigure) -> str:
    """Return how to read a figure, in sentences made from the keys of the sweep."""
    if isinstance(figure, KeyFigure):
        return joined(_by_keys(figure), _source(figure))
    marks = _cells(figure) if figure.axes.is_map else _points(figure)
    return joined(_axes(figure), marks, _source(figure))


def measured_on(runs: pd.DataFrame) -> str:
    """Return what each of some runs was measured on, such as `16 prompts`; empty if that is not known."""
    for column, noun in (("n_prompts", "prompt"), ("n_held_out_texts", "held-out text")):
        counts = sorted({int(count) for count in runs[column].dropna()}) if column in runs else []
        if counts:
            return counted(counts[0], noun) if len(counts) == 1 else f"{counts[0]} to {counted(counts[-1], noun)}"
    return ""


def _by_keys(figure: KeyFigure) -> str:
    """Return the sentences on a panel per key, with what such panels do not show."""
    zero = f"; the dashed line is {figure.zero}" if figure.zero else ""
    zero += f"; {_CUT}" if figure.is_cut else ""
    return (
        f"{_begun(figure.quantity())} by each key alone, in a panel per key: a dot is {_one(figure)}, moved aside by a "
        f"random distance so that fewer dots overlap, and the red strokes are medians over all values of the other keys"
        f"{zero}. A key may matter for some values of another one only, which medians do not show: choose axes with "
        "runs summarize --x --line --facet."
    )


def _axes(figure: SweepFigure) -> str:
    """Return the sentence on the axes."""
    axes, quantity = figure.axes, _begun(figure.quantity())
    each = "map" if axes.is_map else "panel"
    panels = f"a {each} per {_combination(axes.facet)}" if axes.facet else ""
    if axes.is_map:
        return f"{quantity} by {axes.line} (rows) and {axes.x} (columns){f', with {panels}' if panels else ''}."
    along = f"along {axes.x}" if figure.x_axis.places is not None else f"for each {axes.x}"
    order = " (the lighter, the larger)" if figure.is_ordered and len(figure.cells.lines) > 2 else ""
    mark = "line" if figure.x_axis.places is not None else "colour"
    lines = f"a {mark} per {axes.line}{order}" if axes.line else ""
    parts = enumerated([part for part in (lines, panels) if part])
    return f"{quantity} {along}{f', with {parts}' if lines or panels else ''}."


def _points(figure: SweepFigure) -> str:
    """Return the sentence on points, intervals and the dashed line."""
    _, most = figure.cells.n_seeds
    bounded = any(np.isfinite(cell.low) for cell in figure.cells.cells.values())
    parts = [f"a point is {_value(figure)}"]
    if bounded:
        marks = "bands" if figure.has_bands else "vertical lines"
        note = f" ({figure.measured.note})" if figure.measured.note and most <= 1 else ""
        parts.append(f"{marks} are {_intervals(figure)}{note}")
    if figure.zero:
        also = ", which is the value at scale 0 as well" if figure.has_zero_added else ""
        parts.append(f"the dashed line is {figure.zero}{also}")
    if figure.is_cut:
        parts.append(_CUT)
    return sentence("; ".join(parts))


def _cells(figure: SweepFigure) -> str:
    """Return the sentence on the cells of maps: their colours, and those that are pale or blank."""
    n_cells = len(figure.cells.x) * len(figure.cells.lines) * len(figure.cells.facets)
    parts = [f"a cell is {_value(figure)}", "blue is above 0, red below 0, and white is 0"]
    if figure.measured.is_effect:
        pale, _ = figure.without_effect()
        if pale is None:
            parts.append("there are no intervals, so that each effect may be chance")
        elif pale:
            by_tests = figure.cells.not_found() is not None
            own = "has an interval that includes the value without effect, not corrected for the number of cells"
            parts.append(f"what is pale, without a number, {f'is {NOT_FOUND}' if by_tests else own}")
    if len(figure.cells.cells) < n_cells:
        parts.append("what is blank has not been measured")
    return sentence("; ".join(parts))


def _value(figure: SweepFigure) -> str:
    """Return what a value is: of one site, of the best of several, or of a run; or the mean of these over seeds."""
    (least, most), one = figure.cells.n_seeds, _one(figure)
    if most <= 1:
        return one
    count = f"{most}" if least == most else f"{least} to {most}"
    dots = "" if figure.axes.is_map else " (small dots)"
    return f"the mean over {count} values of {_combination(figure.cells.seeds)}{dots}, each of which is {one}"


def _one(figure: SweepFigure) -> str:
    """Return what a single value is: of one site, of the best of several, or of a run."""
    measured = figure.measured
    if measured.of:
        best = measured.of.removeprefix("each run's ")
        return f"the {best} in a run, which need not be the same in all runs"
    return f"one {measured.row} of one run" if measured.row else "the value of one run"


def _intervals(figure: SweepFigure) -> str:
    if figure.cells.n_seeds[1] > 1:
        return "Student's 95 % intervals of these means"
    return f"95 % intervals{f' over {figure.over}' if figure.over else ''}"


def _source(figure: SweepFigure) -> str:
    """Return the sentence on the runs and on what they were measured on."""
    common = figure.common
    of = f" of {common['intervention']}" if "intervention" in common else ""
    about = "".join(f" {word} {common[group]}" for group, word in _PREPOSITIONS.items() if group in common)
    fixed = f", {enumerated(figure.measured.fixed)}" if figure.measured.fixed else ""
    prompts = f", {figure.measured_on} each" if figure.measured_on else ""
    missing = f"; {counted(figure.missing, 'other run')} did not finish" if figure.missing else ""
    return f"From {counted(figure.n_runs, 'run')}{of}{about}{fixed}{prompts}{missing}."


def _combination(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"combination of {enumerated(keys)}"


def _begun(text: str) -> str:
    return text[0].upper() + text[1:]
