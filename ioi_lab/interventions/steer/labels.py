"""The names of sites, vectors and units that the summary and the figures of a steering run share."""

from __future__ import annotations

from ioi_lab.interventions.steer.measure import SteerResult
from ioi_lab.models.selectors import cell_name, label_at
from ioi_lab.reports.report import ReportContext
from ioi_lab.reports.wording import counted, number, plain
from ioi_lab.steering.contrasts import CONTRASTS


class Labels:
    """The names of one result's parts."""

    def __init__(self, result: SteerResult, context: ReportContext) -> None:
        self._result = result
        self._context = context
        self.over = context.over
        """What intervals are taken over."""
        self._prompts = result.baselines.prompts
        self._positions = list(dict.fromkeys(step.site.position for step in result.steps))
        self.component = result.steps[0].site.component
        self.method = plain(result.source.method)
        self.norm = "norm of the head's output" if self.component == "z" else "residual norm"
        """What efficiency is measured in, in the singular."""
        self.unit = "vector norms" if result.unit == "vector" else self.norm.replace("norm", "norms", 1)
        """The unit of the scale."""

    @property
    def vector(self) -> str:
        """The method and the contrast of the vectors."""
        source = self._result.source
        replaces_names = CONTRASTS[source.contrast].replaces_names
        return f"{self.method}, {' against '.join(source.names) if replaces_names else plain(source.contrast)}"

    def site(self, index: int) -> str:
        """Return the name of a site: its layer or head, with the position if positions differ."""
        site = self._result.steps[index].site
        return label_at(cell_name(site.layer, site.head), site.position, self._positions, self._prompts)

    @property
    def next_to_zero(self) -> str:
        """The scales over which the slopes next to 0 are taken."""
        return between(min([0.0, *self._result.initial.scales]), max([0.0, *self._result.initial.scales]))

    def title(self, where: str = "") -> str:
        """Return the title of a figure about the steered prompts."""
        at = f" at {self._prompts.position_name(self._positions[0])}" if len(self._positions) == 1 else ""
        measured = f"{self._context.model}, {self._context.task}, {counted(len(self._prompts), 'held-out prompt')}"
        return f"Steering {self.component}{at}{where}\n{self.vector}\n{measured}"


def between(first: float, last: float) -> str:
    """Return the name of a range of scales: `from −2 to 1`."""
    return f"from {number(first)} to {number(last)}"
