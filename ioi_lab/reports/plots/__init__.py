"""Functions from arrays and labels to matplotlib figures. Their colours are safe for colour-blind readers."""

from ioi_lab.reports.plots.circuit import LOGITS, Effect, Node, circuit
from ioi_lab.reports.plots.lines import Line, LinePanel, interval_line, line_panels, ranked_bars, scatter
from ioi_lab.reports.plots.maps import Panel, heat_maps, share_maps
from ioi_lab.reports.plots.spreads import Marked, Samples, spreads
from ioi_lab.reports.plots.style import NEGATIVE, NEUTRAL, POSITIVE, Axis, png, shades, visible
from ioi_lab.stats.metrics import Array

__all__ = [
    "LOGITS", "NEGATIVE", "NEUTRAL", "POSITIVE", "Array", "Axis", "Effect", "Line", "LinePanel", "Marked", "Node",
    "Panel", "Samples", "circuit", "heat_maps", "interval_line", "line_panels", "png", "ranked_bars", "scatter",
    "shades", "share_maps", "spreads", "visible",
]  # fmt: skip
