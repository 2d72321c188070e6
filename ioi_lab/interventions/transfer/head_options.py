"""Which heads are swapped, and the maps that are fitted to their outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ioi_lab.alignment.pairing import Pairing
from ioi_lab.alignment.training import TrainingSettings
from ioi_lab.engine.memory import MemoryGb
from ioi_lab.errors import LabError
from ioi_lab.models.heads import head_of
from ioi_lab.models.loading import LabModel
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.head_maps import Head, HeadMaps, OutputMaps
from ioi_lab.transfer.heads import contrasts_of_heads
from ioi_lab.transfer.shared_prompts import ModelOnPrompts
from ioi_lab.transfer.stitched_maps import StitchedMaps

HeadMapName = Literal["stream", "outputs", "stitched"]
"""The maps of the residual stream, or maps fitted to the outputs of heads on the training prompts, or these trained."""


@dataclass(frozen=True)
class HeadOptions:
    """The names of the heads that are swapped, or `best` for the head that recovers most when it is patched."""

    source_head: str | float
    head: str | float
    pairs: Literal["patching", "roles"] = "patching"
    """The way to choose heads that are `best`: of all heads, or of those with a role that both models have."""

    maps: HeadMapName = "stream"
    n_idle: int = 4
    """The number of heads without effect, of either model, that controls are made of."""

    memory_gb: MemoryGb = "auto"
    """The bound on the memory of a training step."""

    @property
    def title(self) -> str:
        """The kind of maps, unless they are those of the residual stream."""
        if self.maps == "stitched":
            return "map of heads' outputs trained by stitching on the training prompts"
        return "ridge map of heads' outputs fitted on the training prompts"

    def chosen(self, pairing: Pairing) -> tuple[Head | None, Head | None]:
        """Return the heads of source and target that are named, None for `best`.

        Raises a `LabError` for a head in a layer without maps.
        """
        (source, target), (source_layers, target_layers) = pairing.models, pairing.layers
        return (
            _head("source_head", self.source_head, source, source_layers),
            _head("head", self.head, target, target_layers),
        )

    def maps_of_outputs(
        self,
        on_prompts: tuple[ModelOnPrompts, ModelOnPrompts],
        layers: tuple[Sequence[int], Sequence[int]],
        position: Position,
        training: TrainingSettings,
    ) -> HeadMaps:
        """Return maps that are fitted to the outputs of heads on the training prompts, and trained if asked for."""
        contrasts = contrasts_of_heads(*on_prompts, layers, position)
        if self.maps == "stitched":
            return StitchedMaps.of(*on_prompts, contrasts, position, training, self.memory_gb)
        return OutputMaps(*contrasts)


def _head(key: str, name: str | float, model: LabModel, layers: list[int]) -> Head | None:
    if name == "best":
        return None
    head = head_of(name, model.shape, "z", f"intervention.{key}")
    if head[0] not in layers:
        raise LabError(f"intervention.{key}: got {name}, but its layer is not among those that are mapped, {layers}")
    return head
