"""Activation patching: write one pass's activation into the other and measure how much of the behaviour moves.

Method: Meng et al. 2022 (ROME, arXiv 2202.05262), Wang et al. 2022 (arXiv 2211.00593); the terms denoising and noising
follow Heimersheim & Nanda 2024 (arXiv 2404.15255).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from typing_extensions import override

from ioi_lab.engine.edits import OTHER_PASS, Edit, EditSet, FromPass, Pass
from ioi_lab.interventions.grid import GridIntervention
from ioi_lab.interventions.grid_result import Row, activation_of
from ioi_lab.reports.definitions import Method

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


class Patch(GridIntervention):
    """Replace the activation at each site by that of the other pass.

    `direction`: `denoise` writes the clean activation into the corrupted pass, `noise` the corrupted into the clean.
    """

    action: ClassVar[str] = "Patching"

    name: str = "patch"
    direction: Literal["denoise", "noise"] = "denoise"

    @property
    @override
    def title(self) -> str:
        return f"patch {self.component}" + (" (noise)" if self.direction == "noise" else "")

    @property
    @override
    def details(self) -> str:
        return f"{self.direction}: {self.source} → {self.base}"

    @property
    @override
    def how(self) -> str:
        return f"their {activation_of(self.component)} on the {self.source} prompt is written into the {self.base} one"

    @property
    @override
    def methods(self) -> Sequence[Method]:
        return [
            Method(
                "Activation patching",
                f"The activation at a site in the {self.base} pass is replaced by that of the {self.source} pass of "
                "the same pair of prompts, and everything after it is computed anew. Writing clean activations into "
                "the corrupted pass (denoising) shows what is enough to restore the behaviour; writing corrupted ones "
                "into the clean pass (noising) shows what it depends on.",
                "Meng et al. 2022, arXiv 2202.05262; Wang et al. 2022, arXiv 2211.00593; Heimersheim & Nanda 2024, "
                "arXiv 2404.15255",
            )
        ]

    @property
    @override
    def base(self) -> Pass:
        return "corrupted" if self.direction == "denoise" else "clean"

    @property
    def source(self) -> Pass:
        """The pass whose activations are written."""
        return OTHER_PASS[self.base]

    @override
    def plan(self, rows: Sequence[Row], engine: Engine) -> list[EditSet]:
        return [[Edit(site, "replace", FromPass(self.source)) for site in row.sites] for row in rows]
