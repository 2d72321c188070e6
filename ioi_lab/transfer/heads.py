"""A head of one model in the place of a head of another: its output, mapped into the other's residual stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.edits import OTHER_PASS, Edit, EditSet, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.models.heads import head_name
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.head_controls import HeadControls, without_effect
from ioi_lab.transfer.head_images import Images, head_outputs, mean_outputs, written_instead
from ioi_lab.transfer.head_maps import Contrasts, Head, HeadMaps, MapTraining, Outputs
from ioi_lab.transfer.shared_prompts import ModelOnPrompts

OWN: Final = "own clean"
MEAN: Final = "own mean"
ZERO: Final = "zeroed"

MAX_REPLACED: Final = 4
"""The number of heads of the target, those that recover most when patched, that every head of the source replaces."""


@dataclass(frozen=True)
class HeadSwap:
    """The edits of the target's corrupted pass that put heads of the source in the place of one of its heads."""

    source: ModelOnPrompts
    target: ModelOnPrompts
    position: Position
    chosen: Head
    """The head of the source that replaces `replaced`; all others of the source are controls."""

    replaced: Head
    role: Role | None
    """The role by which the two heads are paired; None if they are paired by patching or by name."""

    edits: Mapping[str, EditSet]
    """For each thing that is written in the head's place: its own clean output (`own clean`), its own mean (`own
    mean`), nothing (`zeroed`), and each head of the source, by its name."""

    recoveries: tuple[Mapping[Head, float], Mapping[Head, float]]
    """The recovery on the training prompts from patching each head of the source, and of the target."""

    mapped: Float[Array, "prompt d_target"]
    """The image under the map of the deviation of the chosen head's output from its mean, at the length of `own`."""

    length: float
    """The length of this image before it is rescaled, as a share of that of the head's own deviation, on the training
    prompts."""

    own: Float[Array, "prompt d_target"]
    """The deviation of the replaced head's clean output from its mean, which `mapped` should equal."""

    map_r2: float
    """The R² of the map between the two heads, on what it was not fitted to."""

    training: MapTraining | None
    """How the maps were trained; None if they were not."""

    grids: tuple[HeadGrid, HeadGrid]
    """Every head of the source in the place of several heads of the target: training and held-out prompts."""

    controls: HeadControls
    """What the chosen head, and the best of each place in the grid, are compared with at equal length."""

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

    def row(self, name: str) -> int:
        """Return the index of an edit set."""
        return self.names.index(name)


@dataclass(frozen=True)
class Role:
    """A role that heads of both models have."""

    name: str
    source_heads: Sequence[Head]
    target_heads: Sequence[Head]


@dataclass(frozen=True)
class HeadGrid:
    """The edits that put each head of the source in the place of each of several heads of the target."""

    engine: Engine
    """The engine of the target, on the prompts of the edits."""

    replaced: Sequence[Head]
    sources: Sequence[Head]
    edits: Sequence[EditSet]
    """For each replaced head, its own clean output, its own mean, nothing, and then each head of the source."""

    unseen: Sequence[int] | None = None
    """The prompts that the best heads are chosen on; None to choose on all."""


def swap_heads(
    source: ModelOnPrompts,
    target: ModelOnPrompts,
    maps: HeadMaps,
    layers: tuple[Sequence[int], Sequence[int]],
    heads: tuple[Head | None, Head | None],
    position: Position,
    roles: Sequence[Role] = (),
    n_idle: int = 4,
) -> HeadSwap:
    """Return the edits that swap heads at one position.

    In the place of the target's head goes its mean output over both passes of the training prompts, plus the image of
    the deviation of the source head's output, in the clean pass of the same prompt, from its own such mean. The images
    of all heads are scaled to the length that the head's own deviation has on the training prompts: a large enough
    change of any direction destroys the preference of the corrupted pass, which looks like half a recovery.

    Args:
        source: The model whose heads are written.
        target: The model whose head is replaced.
        maps: The maps from heads of the source to heads of the target.
        layers: The layers of source and target whose heads are looked at.
        heads: The heads of source and target; None for the one that recovers most when it is patched there.
        position: The position of the heads.
        roles: The roles that heads of both models have. If there are any, a head that is None is the one that recovers
            most of those with the role; of several roles, that whose head of the target recovers most.
        n_idle: The number of heads without effect, of either model, that controls are made of.

    """
    with_heads = sorted({*layers[1], *target.model.shape.layers("z")})
    everywhere = _patching_recoveries(target, with_heads, position)
    recoveries = (
        _patching_recoveries(source, layers[0], position),
        {head: recovery for head, recovery in everywhere.items() if head[0] in layers[1]},
    )
    role = max(roles, key=lambda each: max(recoveries[1][head] for head in each.target_heads), default=None)
    candidates = (None, None) if role is None else (role.source_heads, role.target_heads)
    chosen, replaced = (
        head if head is not None else max(scores if among is None else among, key=lambda each: scores[each])
        for head, scores, among in zip(heads, recoveries, candidates, strict=True)
    )
    sources = list(recoveries[0])
    targets = sorted(recoveries[1], key=lambda head: -recoveries[1][head])[:MAX_REPLACED]
    all_replaced = list(dict.fromkeys([replaced, *targets]))
    idle = without_effect(recoveries[0], everywhere, all_replaced, n_idle)
    means = mean_outputs(target, all_replaced, position)
    images = Images.of(source, target, sources, means, maps, position)
    mapped = images.held_out(replaced)
    own, corrupted = (head_outputs(target.held_out, which, list(means), position) for which in OTHER_PASS)
    deviations = {head: output - means[head] for head, output in own.items()}
    return HeadSwap(
        source=source,
        target=target,
        position=position,
        chosen=chosen,
        replaced=replaced,
        role=None if heads != (None, None) else role,
        edits=_edits(Site("z", *replaced, position), means[replaced], mapped, corrupted[replaced]),
        recoveries=recoveries,
        mapped=mapped[chosen],
        length=images.length(chosen, replaced),
        own=deviations[replaced],
        map_r2=maps.r2(chosen, replaced),
        grids=(
            replace(
                _grid(target.training, {head: images.training(head) for head in targets}, means, position),
                unseen=maps.unseen,
            ),
            _grid(target.held_out, {head: images.held_out(head) for head in targets}, means, position),
        ),
        controls=HeadControls.of(target, idle, images, means, deviations, position),
        training=maps.training,
    )


def contrasts_of_heads(
    source: ModelOnPrompts, target: ModelOnPrompts, layers: tuple[Sequence[int], Sequence[int]], position: Position
) -> tuple[Contrasts, Contrasts]:
    """Return the contrasts of the heads of both models, which maps between their outputs are fitted to."""
    answers = [prompt.steered.answer for prompt in target.contrast.training]
    sides = []
    for model, of_model in zip((source, target), layers, strict=True):
        heads = list(product(of_model, range(model.model.shape.n_heads)))
        training, held_out = (_contrast(engine, heads, position) for engine in (model.training, model.held_out))
        sides.append(Contrasts(training, held_out, answers))
    return sides[0], sides[1]


def _contrast(engine: Engine, heads: Sequence[Head], position: Position) -> Outputs:
    clean, corrupted = (head_outputs(engine, which, heads, position) for which in OTHER_PASS)
    return {head: clean[head] - corrupted[head] for head in heads}


def _grid(
    target: Engine,
    images: Mapping[Head, Mapping[Head, Float[Array, "prompt d_target"]]],
    means: Mapping[Head, Float[Array, "d_target"]],
    position: Position,
) -> HeadGrid:
    edits: list[EditSet] = []
    corrupted = head_outputs(target, "corrupted", list(images), position)
    for head, mapped in images.items():
        edits += _edits(Site("z", *head, position), means[head], mapped, corrupted[head]).values()
    return HeadGrid(target, list(images), list(next(iter(images.values()))), edits)


def _edits(
    site: Site,
    mean: Float[Array, "d_target"],
    mapped: Mapping[Head, Float[Array, "prompt d_target"]],
    corrupted: Float[Array, "prompt d_target"],
) -> dict[str, EditSet]:
    edits: dict[str, EditSet] = {
        OWN: (Edit(site, "replace", FromPass("clean")),),
        MEAN: written_instead(site, np.tile(mean, (len(corrupted), 1)), corrupted),
        ZERO: (Edit(site, "zero"),),
    }
    written = {head_name(head): mean + deviation for head, deviation in mapped.items()}
    return edits | {name: written_instead(site, output, corrupted) for name, output in written.items()}


def _patching_recoveries(model: ModelOnPrompts, layers: Sequence[int], position: Position) -> dict[Head, float]:
    """Return the recovery on the training prompts of each head of some layers, patched alone (denoising)."""
    engine = model.training
    heads = list(product(layers, range(engine.shape.n_heads)))
    plan = [(Edit(Site("z", *head, position), "replace", FromPass("clean")),) for head in heads]
    readout, clean, corrupted = engine.run(plan, "corrupted"), engine.baseline("clean"), engine.baseline("corrupted")
    gap = (clean.logit_diff - corrupted.logit_diff).mean()
    recovered = (readout.logit_diff - corrupted.logit_diff).mean(axis=1) / gap
    return dict(zip(heads, recovered.tolist(), strict=True))
