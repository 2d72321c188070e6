"""What is mapped, and how: the options of `conf/alignment/`, and the two models with their layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from ioi_lab.edits import Site
from ioi_lab.interventions.grid import IndexSelector, indices_of
from ioi_lab.schema import LabConfig

if TYPE_CHECKING:
    from torch import Tensor

    from ioi_lab.alignment.positions import Chunk
    from ioi_lab.engine.memory import MemoryGb
    from ioi_lab.models import LabModel

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


@dataclass(frozen=True)
class Pairing:
    """Two models, source and target, with the layers of each that are mapped, and the memory that they may use."""

    models: tuple[LabModel, LabModel]
    site: Literal["resid_pre", "resid_post"]
    layers: tuple[list[int], list[int]]
    memory_gb: MemoryGb

    @classmethod
    def of(cls, config: AlignmentConfig, models: tuple[LabModel, LabModel], memory_gb: MemoryGb) -> Self:
        """A `LabError` for a layer that a model lacks."""
        selected = {"source_layers": config.source_layers, "target_layers": config.target_layers}
        layers = []
        for (key, selector), model in zip(selected.items(), models, strict=True):
            layers.append(indices_of(selector, model.shape.n_layers))
            for layer in layers[-1]:
                model.shape.check_layer(layer, f"alignment.{key}")
        return cls(models, config.site, (layers[0], layers[1]), memory_gb)

    @property
    def names(self) -> tuple[str, str]:
        """What the models are called."""
        first, second = (model.shape.name for model in self.models)
        return first, second

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Of either model, how many layers and of what width."""
        first, second = (
            (len(layers), model.shape.d_model) for layers, model in zip(self.layers, self.models, strict=True)
        )
        return first, second

    def activations(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        """Of both models at the shared positions, `[position, layer, d_model]` each in float64, on one device."""
        from ioi_lab.alignment.positions import activations_of

        first, second = (
            activations_of(model, chunk, side, [Site(self.site, layer) for layer in layers], self.memory_gb)
            for side, (model, layers) in enumerate(zip(self.models, self.layers, strict=True))
        )
        return first, second.to(first.device)
