"""Two models with the layers of each that are mapped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from jaxtyping import Float
from torch import Tensor

from ioi_lab.alignment.config import AlignmentConfig, Stream
from ioi_lab.alignment.positions import Chunk, activations_of
from ioi_lab.engine.edits import Site
from ioi_lab.engine.memory import MemoryGb
from ioi_lab.models.loading import LabModel
from ioi_lab.models.selectors import indices_of


@dataclass(frozen=True)
class Pairing:
    """Two models, source and target, with the layers of each that are mapped, and the memory that they may use."""

    models: tuple[LabModel, LabModel]
    component: Stream
    layers: tuple[list[int], list[int]]
    memory_gb: MemoryGb

    @classmethod
    def of(cls, config: AlignmentConfig, models: tuple[LabModel, LabModel], memory_gb: MemoryGb) -> Self:
        """Return the pairing that a config asks for; raises a `LabError` for a layer that a model does not have."""
        selected = {"source_layers": config.source_layers, "target_layers": config.target_layers}
        layers = []
        for (key, selector), model in zip(selected.items(), models, strict=True):
            layers.append(indices_of(selector, model.shape.n_layers))
            for layer in layers[-1]:
                model.shape.check_layer(layer, f"alignment.{key}")
        return cls(models, config.component, (layers[0], layers[1]), memory_gb)

    @property
    def names(self) -> tuple[str, str]:
        """The names of the source and of the target."""
        first, second = (model.shape.name for model in self.models)
        return first, second

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The number of mapped layers of each model, and the model's width."""
        first, second = (
            (len(layers), model.shape.d_model) for layers, model in zip(self.layers, self.models, strict=True)
        )
        return first, second

    def activations(
        self, chunk: Chunk
    ) -> tuple[Float[Tensor, "position source_layer d_source"], Float[Tensor, "position target_layer d_target"]]:
        """Return the activations of both models at the shared positions, in float64 and on one device."""
        first, second = (
            activations_of(model, chunk, side, [Site(self.component, layer) for layer in layers], self.memory_gb)
            for side, (model, layers) in enumerate(zip(self.models, self.layers, strict=True))
        )
        return first, second.to(first.device)
