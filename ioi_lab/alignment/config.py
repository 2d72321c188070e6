"""What is mapped, and how: the options of `conf/alignment/`, and the two models with their layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ioi_lab.config import LabConfig
from ioi_lab.models.selectors import IndexSelector

if TYPE_CHECKING:
    pass

MapMethod = Literal["ridge", "procrustes", "lowrank", "mean_shift"]
PairOfLayers = tuple[int, int]
"""A layer of the model that is mapped from, and one of the model that is mapped to."""


class AlignmentConfig(LabConfig):
    """One option of `conf/alignment/`.

    `site`: which residual stream. `positions`: all that both models have, or the last of each text alone. `held_out`:
    the share of texts to try maps on. `folds`: of the others, to choose the ridge penalty by. `rank`: of `lowrank`.
    """

    method: MapMethod
    site: Literal["resid_pre", "resid_post"]
    source_layers: IndexSelector
    target_layers: IndexSelector
    positions: Literal["all", "last"]
    held_out: Annotated[float, Field(gt=0, lt=1)]
    folds: Annotated[int, Field(ge=2)]
    rank: Annotated[int, Field(ge=1)]

    @property
    def title(self) -> str:
        """The method in figures."""
        return f"rank-{self.rank} map" if self.method == "lowrank" else f"{self.method.replace('_', ' ')} map"
