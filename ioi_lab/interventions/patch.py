"""Activation patching: write one run's activation into the other and see how much of the behaviour moves.

Method: Meng et al. 2022 (ROME, arXiv 2202.05262), Wang et al. 2022 (arXiv 2211.00593); the terms denoising and noising
follow Heimersheim & Nanda 2024 (arXiv 2404.15255).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ioi_lab.edits import OTHER_RUN, Edit, FromRun, Run, Site
from ioi_lab.interventions.grid import GridIntervention

if TYPE_CHECKING:
    from ioi_lab.engine import Engine


class Patch(GridIntervention):
    """Replace the activation at each site by that of the other run.

    `direction`: `denoise` writes the clean activation into the corrupted run, `noise` the corrupted into the clean.
    """

    direction: Literal["denoise", "noise"]

    @property
    def title(self) -> str:
        """`patch z`, or `patch z (noise)`."""
        return f"patch {self.component}" + (" (noise)" if self.direction == "noise" else "")

    @property
    def action(self) -> str:
        """`Patching`."""
        return "Patching"

    @property
    def details(self) -> str:
        """`denoise: clean → corrupted`, or the other way round."""
        return f"{self.direction}: {self.source} → {self.base}"

    @property
    def base(self) -> Run:
        """Denoising edits the corrupted run, noising the clean one."""
        return "corrupted" if self.direction == "denoise" else "clean"

    @property
    def source(self) -> Run:
        """The run whose activations are written."""
        return OTHER_RUN[self.base]

    def editor(self, engine: Engine) -> Callable[[Site], Edit]:
        """Replace what the site holds."""
        return lambda site: Edit(site, "replace", FromRun(self.source))
