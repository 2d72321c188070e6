"""A head of one model in place of a head of another: its output, mapped into the other's residual stream."""

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
from ioi_lab.stats.metrics import Array, Readout
from ioi_lab.steering.vectors import activations_at
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.sides import Side

Head = tuple[int, int]
"""Layer and head."""

OWN: Final = "own clean"
MEAN: Final = "own mean"
ZERO: Final = "zeroed"


@dataclass(frozen=True)
class Swap:
    """What came of putting heads of `source` in the place of one of the target's heads, in its corrupted run.

    `readout` has a row for each of `names`: the head's own clean output, its own mean, nothing, and every head of
    the source, one of which is `chosen`.
    """

    source: Side
    target: Side
    position: Position
    chosen: Head
    replaced: Head
    names: list[str]
    readout: Readout
    clean: Readout
    corrupted: Readout
    found: tuple[Mapping[Head, float], Mapping[Head, float]]
    """What patching each head of the source and of the target recovers on the training prompts."""

    mapped: Float[Array, "prompt d_target"]
    """What the map makes of the chosen head's deviation from its mean."""

    own: Float[Array, "prompt d_target"]
    """The deviation of the replaced head's clean output from its mean, which that should be."""

    @property
    def cosines(self) -> Float[Array, "prompt"]:
        """Between the two; 0 where one of them is nothing."""
        norms = np.linalg.norm(self.mapped, axis=1) * np.linalg.norm(self.own, axis=1)
        products = (self.mapped * self.own).sum(axis=1)
        cosines: Array = np.divide(products, norms, out=np.zeros_like(norms), where=norms > 0)
        return cosines

    @property
    def length(self) -> float:
        """How long what is written is, in lengths of what should be."""
        return float(np.linalg.norm(self.mapped) / np.linalg.norm(self.own))

    def row(self, name: str) -> int:
        """Of `readout`."""
        return self.names.index(name)


def swap(
    source: Side,
    target: Side,
    maps: Mapping[PairOfLayers, AffineMap],
    heads: tuple[Head | None, Head | None],
    position: Position,
) -> Swap:
    """Swap heads at one position. `heads`: those of source and target, or None for the best by patching there.

    What is written in place of the target's head is its mean output over both runs of the training prompts, and what
    the map makes of the source head's deviation, in the clean run of the same prompt, from its own such mean.
    """
    layers = [list(dict.fromkeys(pair[side] for pair in maps)) for side in (0, 1)]
    found = [_recovered(side, own, position) for side, own in zip((source, target), layers, strict=True)]
    chosen, replaced = (
        head if head is not None else max(scores, key=lambda each: scores[each])
        for head, scores in zip(heads, found, strict=True)
    )
    site = Site("z", *replaced, position)
    mean = _mean_outputs(target, [replaced], position)[replaced]
    means = _mean_outputs(source, list(found[0]), position)
    outputs = _outputs(source.held_out, "clean", list(found[0]), position)
    n_prompts = len(target.held_out.prompts)
    plan: dict[str, EditSet] = {
        OWN: (Edit(site, "replace", FromPass("clean")),),
        MEAN: _in_place_of(site, np.tile(mean, (n_prompts, 1))),
        ZERO: (Edit(site, "zero"),),
    }
    mapped = {
        head: (output - means[head]) @ maps[head[0], replaced[0]].matrix.cpu().numpy()
        for head, output in outputs.items()
    }
    plan |= {head_name(head): _in_place_of(site, mean + deviation) for head, deviation in mapped.items()}
    return Swap(
        source=source,
        target=target,
        position=position,
        chosen=chosen,
        replaced=replaced,
        names=list(plan),
        readout=target.held_out.run(list(plan.values()), "corrupted"),
        clean=target.held_out.baseline("clean"),
        corrupted=target.held_out.baseline("corrupted"),
        found=(found[0], found[1]),
        mapped=mapped[chosen],
        own=_outputs(target.held_out, "clean", [replaced], position)[replaced] - mean,
    )


def _in_place_of(site: Site, output: Float[Array, "prompt d_model"]) -> EditSet:
    """Write into the residual stream instead of a head's output."""
    written = Site("attn_out", site.layer, None, site.position)
    return Edit(site, "zero"), Edit(written, "add", torch.from_numpy(output).float())


def _recovered(side: Side, layers: Sequence[int], position: Position) -> dict[Head, float]:
    """The recovery of each head of some layers on the training prompts, patched alone: denoising."""
    engine = side.training
    heads = list(product(layers, range(engine.shape.n_heads)))
    plan = [(Edit(Site("z", *head, position), "replace", FromPass("clean")),) for head in heads]
    readout, clean, corrupted = engine.run(plan, "corrupted"), engine.baseline("clean"), engine.baseline("corrupted")
    gap = (clean.logit_diff - corrupted.logit_diff).mean()
    recovered = (readout.logit_diff - corrupted.logit_diff).mean(axis=1) / gap
    return dict(zip(heads, recovered.tolist(), strict=True))


def _mean_outputs(side: Side, heads: Sequence[Head], position: Position) -> dict[Head, Float[Array, "d_model"]]:
    """Over both runs of the training prompts."""
    runs = [_outputs(side.training, run, heads, position) for run in OTHER_PASS]
    return {head: np.mean([outputs[head].mean(axis=0) for outputs in runs], axis=0) for head in heads}


def _outputs(
    engine: Engine, run: Pass, heads: Sequence[Head], position: Position
) -> dict[Head, Float[Array, "prompt d_model"]]:
    """What each head writes into the residual stream, without the bias behind W_O."""
    sites = {head: Site("z", *head, position) for head in heads}
    held = activations_at(engine, run, list(sites.values()))
    weights = {layer: engine.model.bridge.blocks[layer].attn.W_O.double().cpu().numpy() for layer, _ in heads}
    return {head: held[site] @ weights[head[0]][head[1]] for head, site in sites.items()}
