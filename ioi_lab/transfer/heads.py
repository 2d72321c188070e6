"""A head of one model in the place of a head of another: its output, mapped into the other's residual stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
import torch
from jaxtyping import Float

from ioi_lab.alignment.config import PairOfLayers
from ioi_lab.alignment.maps import AffineMap
from ioi_lab.engine.edits import OTHER_PASS, Edit, EditSet, FromPass, Pass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.models.heads import head_name
from ioi_lab.stats.metrics import Array
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.shared_prompts import ModelOnPrompts

Head = tuple[int, int]
"""A layer, and the index of a head in it."""

OWN: Final = "own clean"
MEAN: Final = "own mean"
ZERO: Final = "zeroed"


@dataclass(frozen=True)
class HeadSwap:
    """The edits of the target's corrupted pass that put heads of the source in the place of one of its heads."""

    source: ModelOnPrompts
    target: ModelOnPrompts
    position: Position
    chosen: Head
    """The head of the source that replaces `replaced`; all others of the source are controls."""

    replaced: Head
    edits: Mapping[str, EditSet]
    """For each thing that is written in the head's place: its own clean output (`own clean`), its own mean (`own
    mean`), nothing (`zeroed`), and each head of the source, by its name."""

    recoveries: tuple[Mapping[Head, float], Mapping[Head, float]]
    """The recovery on the training prompts from patching each head of the source, and of the target."""

    mapped: Float[Array, "prompt d_target"]
    """The image under the map of the deviation of the chosen head's output from its mean."""

    own: Float[Array, "prompt d_target"]
    """The deviation of the replaced head's clean output from its mean, which `mapped` should equal."""

    @property
    def names(self) -> list[str]:
        """The names of what is written, in the order of the edit sets."""
        return list(self.edits)

    @property
    def cosines(self) -> Float[Array, "prompt"]:
        """The cosines between `mapped` and `own`; 0 if one of them is zero."""
        norms = np.linalg.norm(self.mapped, axis=1) * np.linalg.norm(self.own, axis=1)
        products = (self.mapped * self.own).sum(axis=1)
        cosines: Array = np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
        return cosines

    @property
    def length(self) -> float:
        """The norm of `mapped` as a share of that of `own`, over all prompts together."""
        return float(np.linalg.norm(self.mapped) / np.linalg.norm(self.own))

    def row(self, name: str) -> int:
        """Return the index of an edit set."""
        return self.names.index(name)


def swap_heads(
    source: ModelOnPrompts,
    target: ModelOnPrompts,
    maps: Mapping[PairOfLayers, AffineMap],
    heads: tuple[Head | None, Head | None],
    position: Position,
) -> HeadSwap:
    """Return the edits that swap heads at one position.

    In the place of the target's head goes its mean output over both passes of the training prompts, plus the image of
    the deviation of the source head's output, in the clean pass of the same prompt, from its own such mean.

    Args:
        source: The model whose heads are written.
        target: The model whose head is replaced.
        maps: The maps from the source to the target, by pair of layers.
        heads: The heads of source and target; None for the one that recovers most when it is patched there.
        position: The position of the heads.

    """
    layers = [list(dict.fromkeys(pair[index] for pair in maps)) for index in (0, 1)]
    recoveries = (
        _patching_recoveries(source, layers[0], position),
        _patching_recoveries(target, layers[1], position),
    )
    chosen, replaced = (
        head if head is not None else max(scores, key=lambda each: scores[each])
        for head, scores in zip(heads, recoveries, strict=True)
    )
    source_heads = list(recoveries[0])
    mean = _mean_outputs(target, [replaced], position)[replaced]
    source_means = _mean_outputs(source, source_heads, position)
    outputs = _outputs(source.held_out, "clean", source_heads, position)
    mapped = {
        head: (output - source_means[head]) @ maps[head[0], replaced[0]].matrix.cpu().numpy()
        for head, output in outputs.items()
    }
    return HeadSwap(
        source=source,
        target=target,
        position=position,
        chosen=chosen,
        replaced=replaced,
        edits=_edits(Site("z", *replaced, position), mean, mapped, len(target.held_out.prompts)),
        recoveries=recoveries,
        mapped=mapped[chosen],
        own=_outputs(target.held_out, "clean", [replaced], position)[replaced] - mean,
    )


def _edits(
    site: Site, mean: Float[Array, "d_target"], mapped: Mapping[Head, Float[Array, "prompt d_target"]], n_prompts: int
) -> dict[str, EditSet]:
    edits: dict[str, EditSet] = {
        OWN: (Edit(site, "replace", FromPass("clean")),),
        MEAN: _in_place_of(site, np.tile(mean, (n_prompts, 1))),
        ZERO: (Edit(site, "zero"),),
    }
    return edits | {head_name(head): _in_place_of(site, mean + deviation) for head, deviation in mapped.items()}


def _in_place_of(site: Site, output: Float[Array, "prompt d_model"]) -> EditSet:
    """Return the edits that write into the residual stream instead of a head's output."""
    attention = Site("attn_out", site.layer, None, site.position)
    return Edit(site, "zero"), Edit(attention, "add", torch.from_numpy(output).float())


def _patching_recoveries(model: ModelOnPrompts, layers: Sequence[int], position: Position) -> dict[Head, float]:
    """Return the recovery on the training prompts of each head of some layers, patched alone (denoising)."""
    engine = model.training
    heads = list(product(layers, range(engine.shape.n_heads)))
    plan = [(Edit(Site("z", *head, position), "replace", FromPass("clean")),) for head in heads]
    readout, clean, corrupted = engine.run(plan, "corrupted"), engine.baseline("clean"), engine.baseline("corrupted")
    gap = (clean.logit_diff - corrupted.logit_diff).mean()
    recovered = (readout.logit_diff - corrupted.logit_diff).mean(axis=1) / gap
    return dict(zip(heads, recovered.tolist(), strict=True))


def _mean_outputs(
    model: ModelOnPrompts, heads: Sequence[Head], position: Position
) -> dict[Head, Float[Array, "d_model"]]:
    """Return the mean output of each head over both passes of the training prompts."""
    passes = [_outputs(model.training, which, heads, position) for which in OTHER_PASS]
    return {head: np.mean([outputs[head].mean(axis=0) for outputs in passes], axis=0) for head in heads}


def _outputs(
    engine: Engine, which: Pass, heads: Sequence[Head], position: Position
) -> dict[Head, Float[Array, "prompt d_model"]]:
    """Return what each head writes into the residual stream, without the bias that is added after W_O."""
    sites = {head: Site("z", *head, position) for head in heads}
    activations = activations_at(engine, which, list(sites.values()))
    weights = {layer: engine.model.bridge.blocks[layer].attn.W_O.double().cpu().numpy() for layer, _ in heads}
    return {head: activations[site] @ weights[head[0]][head[1]] for head, site in sites.items()}
