"""Functions from arrays and labels to matplotlib figures. Their colours are safe for colour-blind readers."""

from ioi_lab.reports.plots.circuit import LOGITS, Effect, Node, circuit
from ioi_lab.reports.plots.lines import Line, LinePanel, interval_line, line_panels, ranked_bars
from ioi_lab.reports.plots.maps import EFFECT_FLOOR, Panel, heat_maps, share_maps
from ioi_lab.reports.plots.points import Group, grouped_scatter, scatter, scatter_panels
from ioi_lab.reports.plots.spreads import Marked, Samples, spreads
from ioi_lab.reports.plots.style import NEGATIVE, NEUTRAL, POSITIVE, Axis, png, shades, visible
from ioi_lab.stats.metrics import Array

__all__ = [
    "EFFECT_FLOOR", "LOGITS", "NEGATIVE", "NEUTRAL", "POSITIVE", "Array", "Axis", "Effect", "Group", "Line",
    "LinePanel", "Marked", "Node", "Panel", "Samples", "circuit", "grouped_scatter", "heat_maps", "interval_line",
    "line_panels", "png", "ranked_bars", "scatter", "scatter_panels", "shades", "share_maps", "spreads", "visible",
]  # fmt: skip
