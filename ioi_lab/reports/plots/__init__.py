"""Functions from arrays and labels to matplotlib figures. Their colours are safe for colour-blind readers."""

from ioi_lab.reports.plots.circuit import LOGITS, Effect, Node, circuit
from ioi_lab.reports.plots.edge_graph import edge_graph
from ioi_lab.reports.plots.edge_scores import class_matrix, method_agreement
from ioi_lab.reports.plots.forests import Forest, forests
from ioi_lab.reports.plots.lines import Line, LinePanel, interval_line, line_panels, ranked_bars
from ioi_lab.reports.plots.maps import EFFECT_FLOOR, Panel, heat_maps, share_maps
from ioi_lab.reports.plots.multiples import Multiple, has_bands, small_multiples
from ioi_lab.reports.plots.points import Group, grouped_scatter, scatter, scatter_panels
from ioi_lab.reports.plots.size_curves import faithfulness_curves, jaccard_curves
from ioi_lab.reports.plots.spreads import Marked, Samples, spreads
from ioi_lab.reports.plots.strips import Strip, strips
from ioi_lab.reports.plots.style import (
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    Axis,
    distinct,
    image,
    png,
    shades,
    visible,
)
from ioi_lab.stats.metrics import Array

__all__ = [
    "EFFECT_FLOOR", "LOGITS", "NEGATIVE", "NEUTRAL", "POSITIVE", "Array", "Axis", "Effect", "Forest", "Group", "Line",
    "LinePanel", "Marked", "Multiple", "Node", "Panel", "Samples", "Strip", "circuit", "class_matrix", "distinct",
    "edge_graph", "faithfulness_curves", "forests", "grouped_scatter", "has_bands", "heat_maps", "image",
    "interval_line", "jaccard_curves", "line_panels", "method_agreement", "png", "ranked_bars", "scatter",
    "scatter_panels", "shades", "share_maps", "small_multiples", "spreads", "strips", "visible",
]  # fmt: skip
