"""Two models with the layers of each that are mapped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from torch import Tensor

from ioi_lab.alignment.config import AlignmentConfig
from ioi_lab.alignment.positions import Chunk
from ioi_lab.engine.edits import Site
from ioi_lab.engine.memory import MemoryGb
from ioi_lab.models.loading import LabModel
from ioi_lab.models.selectors import indices_of


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
