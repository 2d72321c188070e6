"""Outputs of heads, and their images in another model at the length of the outputs in whose place they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Self

import numpy as np
import torch
from jaxtyping import Float

from ioi_lab.engine.edits import OTHER_PASS, Edit, EditSet, Pass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.errors import LabError
from ioi_lab.lenses.head_outputs import HeadOutputs
from ioi_lab.stats.metrics import Array
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.head_maps import Head, HeadMaps, Outputs
from ioi_lab.transfer.shared_prompts import ModelOnPrompts


@dataclass(frozen=True)
class Images:
    """The images of the source heads' clean deviations in the place of heads of the target, at these heads' lengths."""

    maps: HeadMaps
    deviations: tuple[Outputs, Outputs]
    """The outputs of the source's heads less their means: first on the training prompts, then on the held-out ones."""

    lengths: Mapping[Head, float]
    """The norm of the own deviations of each head of the target, over all training prompts."""

    @classmethod
    def of(
        cls,
        source: ModelOnPrompts,
        target: ModelOnPrompts,
        sources: Sequence[Head],
        target_means: Mapping[Head, Float[Array, "d_target"]],
        maps: HeadMaps,
        position: Position,
    ) -> Self:
        """Return the images of some heads of the source for the heads of the target whose means are given."""
        means = mean_outputs(source, sources, position)
        training, held_out = (
            {head: output - means[head] for head, output in head_outputs(engine, "clean", sources, position).items()}
            for engine in (source.training, source.held_out)
        )
        own = head_outputs(target.training, "clean", list(target_means), position)
        lengths = {head: float(np.linalg.norm(output - target_means[head])) for head, output in own.items()}
        return cls(maps, (training, held_out), lengths)

    def length(self, source: Head, target: Head) -> float:
        """Return the norm of an image, before it is scaled, as a share of that of the target's own deviations."""
        image = self.deviations[0][source] @ self.maps.matrix(source, target)
        return float(np.linalg.norm(image)) / (self.lengths[target] or 1.0)

    def training(self, target: Head) -> dict[Head, Float[Array, "prompt d_target"]]:
        """Return the images of all heads of the source on the training prompts."""
        return {head: self._image(self.deviations[0][head], head, target) for head in self.deviations[0]}

    def held_out(self, target: Head) -> dict[Head, Float[Array, "prompt d_target"]]:
        """Return the images of all heads of the source on the held-out prompts."""
        return {head: self.of_held_out(head, target) for head in self.deviations[1]}

    def of_held_out(self, source: Head, target: Head) -> Float[Array, "prompt d_target"]:
        """Return the image of one head of the source on the held-out prompts."""
        return self._image(self.deviations[1][source], source, target)

    def _image(
        self, deviation: Float[Array, "prompt d_source"], source: Head, target: Head
    ) -> Float[Array, "prompt d_target"]:
        image: Array = deviation @ self.maps.matrix(source, target) / (self.length(source, target) or 1.0)
        return image


def written_instead(
    site: Site, output: Float[Array, "prompt d_model"], corrupted: Float[Array, "prompt d_model"]
) -> EditSet:
    """Return the edits of the corrupted pass that write into the residual stream instead of the head of a site.

    They add the difference from what the head writes there. If a norm follows the attention, the other heads of the
    layer are thereby left as they are, unlike by zeroing the head's `z`.
    """
    attention = Site("attn_out", site.layer, None, site.position)
    return (Edit(attention, "add", torch.from_numpy(output - corrupted).float()),)


def mean_outputs(
    model: ModelOnPrompts, heads: Sequence[Head], position: Position
) -> dict[Head, Float[Array, "d_model"]]:
    """Return the mean output of each head over both passes of the training prompts."""
    passes = [head_outputs(model.training, which, heads, position) for which in OTHER_PASS]
    return {head: np.mean([outputs[head].mean(axis=0) for outputs in passes], axis=0) for head in heads}


def head_outputs(
    engine: Engine, which: Pass, heads: Sequence[Head], position: Position
) -> dict[Head, Float[Array, "prompt d_model"]]:
    """Return what each head adds to the residual stream, without the bias that is added after W_O.

    If a norm follows the attention, this is the head's part of the norm's output, whose scale is that of the pass.
    Raises a `LabError` for a layer whose attention is no sum of what its heads write.
    """
    model = engine.model

    def refuse(reason: str) -> NoReturn:
        raise LabError(f"intervention.through: the heads of {model.shape.name} cannot be written by head: {reason}")

    layers = list(dict.fromkeys(layer for layer, _ in heads))
    sites = [Site(component, layer, None, position) for layer in layers for component in ("z", "attn_out")]
    activations = {site: torch.from_numpy(each) for site, each in activations_at(engine, which, sites).items()}
    outputs: dict[Head, Float[Array, "prompt d_model"]] = {}
    for z_site, added_site in zip(sites[::2], sites[1::2], strict=True):
        z = activations[z_site].float().to(model.device).unflatten(-1, (model.shape.n_heads, -1))
        of_layer = HeadOutputs.of(model, z_site.layer, z, activations[added_site].to(z), refuse)(z)
        by_head = of_layer.double().cpu().numpy()
        outputs |= {head: by_head[head[1]] for head in heads if head[0] == z_site.layer}
    return outputs
