"""What the image of a head is compared with, at equal length: other layers, other prompts, heads without effect.

Whatever the heads of a layer write at a position is added up before anything reads it. To write an image in the place
of another head of the same layer would therefore be the same edit, up to what that head wrote: a place is a layer. Of
each other layer, the control takes the head whose own clean output recovers least, so that nothing that matters is
replaced there, and writes the same vector: equal in the residual stream, whatever the W_O of the place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from typing import Final, Self

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.edits import EditSet, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position, PromptPairs
from ioi_lab.tasks.splits import names_of
from ioi_lab.transfer.head_images import Images, head_outputs, mean_outputs, written_instead
from ioi_lab.transfer.head_maps import Head, Outputs
from ioi_lab.transfer.shared_prompts import ModelOnPrompts

N_OTHER_PROMPTS: Final = 4
"""The number of other prompts whose images are written into each prompt."""

EDITS_PER_PLACE: Final = 3
"""The edits of each place in another layer: its mean, and that plus either of two vectors."""


@dataclass(frozen=True)
class HeadsWithoutEffect:
    """The heads of both models whose own clean output recovers least in absolute value, on the training prompts."""

    of_source: Sequence[Head]
    places: Mapping[Head, Sequence[Head]]
    """For each replaced head of the target, one head of each of several other layers."""

    largest: tuple[float, float]
    """The largest absolute recovery of these heads, in the source and in the target; NaN if there are none."""


@dataclass(frozen=True)
class HeadControls:
    """The edits of the target's held-out prompts that are controls of a head of the source in several places."""

    engine: Engine
    position: Position
    idle: HeadsWithoutEffect
    images: Images
    means: Mapping[Head, Float[Array, "d_target"]]
    """The mean outputs of the replaced heads and of the places in other layers."""

    corrupted: Outputs
    """What these heads write in the corrupted pass."""

    own: Outputs
    """The deviations of the replaced heads' clean outputs from their means."""

    other_prompts: Sequence[Sequence[int]]
    """For each of several edits, another prompt for each prompt; empty if some prompt shares names with all others."""

    @classmethod
    def of(
        cls,
        target: ModelOnPrompts,
        idle: HeadsWithoutEffect,
        images: Images,
        means: Mapping[Head, Float[Array, "d_target"]],
        own: Outputs,
        position: Position,
    ) -> Self:
        """Return the controls on the target's held-out prompts."""
        places = list(dict.fromkeys(place for of_head in idle.places.values() for place in of_head))
        of_places = mean_outputs(target, places, position) if places else {}
        all_means, engine = of_places | dict(means), target.held_out
        corrupted = head_outputs(engine, "corrupted", list(all_means), position)
        others = prompts_without_names(engine.prompts)
        return cls(engine, position, idle, images, all_means, corrupted, own, others)

    def in_other_layers(self, replaced: Head, source: Head) -> list[EditSet]:
        """Return for each place its mean, that plus the image for the replaced head, and plus that head's own output.

        The image is the vector that is written in the place of the replaced head, at the length that it has there.
        """
        image = self.images.of_held_out(source, replaced)
        written = (np.zeros_like(image), image, self.own[replaced])
        return [self._in(place, each) for place in self.idle.places[replaced] for each in written]

    def of_other_prompts(self, replaced: Head, source: Head) -> list[EditSet]:
        """Return the replaced head's mean, and that plus the images of other prompts, as long as for these prompts."""
        image = self.images.of_held_out(source, replaced)
        written = (np.zeros_like(image), *(image[list(others)] for others in self.other_prompts))
        return [self._in(replaced, each) for each in written]

    def _in(self, place: Head, deviation: Float[Array, "prompt d_target"]) -> EditSet:
        output = self.means[place] + deviation
        return written_instead(Site("z", *place, self.position), output, self.corrupted[place])


def without_effect(
    of_source: Mapping[Head, float], of_target: Mapping[Head, float], replaced: Sequence[Head], count: int
) -> HeadsWithoutEffect:
    """Return the heads without effect, given the recovery of each head on the training prompts.

    Args:
        of_source: The recoveries of the source's heads, of which at most half are taken.
        of_target: The recoveries of the target's heads in all layers.
        replaced: The heads of the target that are replaced.
        count: The greatest number of heads of the source, and of places for each replaced head.

    """
    sources = sorted(of_source, key=lambda head: abs(of_source[head]))[: min(count, len(of_source) // 2)]
    by_effect = sorted(of_target, key=lambda head: abs(of_target[head]))
    least = {layer: next(head for head in by_effect if head[0] == layer) for layer, _ in by_effect}
    places = {head: [place for layer, place in least.items() if layer != head[0]][:count] for head in replaced}
    largest = (
        max((abs(of_source[head]) for head in sources), default=np.nan),
        max((abs(of_target[place]) for of_head in places.values() for place in of_head), default=np.nan),
    )
    return HeadsWithoutEffect(sources, places, largest)


def prompts_without_names(prompts: PromptPairs) -> list[list[int]]:
    """Return for each prompt the next ones, in a circle, that share no name with it: `N_OTHER_PROMPTS` for each.

    Fewer are repeated; the list is empty if a prompt has none, as if all prompts have the same two answers.
    """
    names = [set(each) for each in names_of(prompts)]
    following = []
    for index, own in enumerate(names):
        circle = chain(range(index + 1, len(names)), range(index))
        without = (other for other in circle if own.isdisjoint(names[other]))
        following.append(list(islice(without, N_OTHER_PROMPTS)))
    if not all(following):
        return []
    by_prompt = [list(islice(cycle(others), N_OTHER_PROMPTS)) for others in following]
    return [list(others) for others in zip(*by_prompt, strict=True)]
