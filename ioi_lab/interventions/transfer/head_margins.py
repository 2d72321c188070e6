"""How far a head of the source is above its controls, in the place of each of several heads of the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float

from ioi_lab.engine.edits import EditSet
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.transfer.head_controls import EDITS_PER_PLACE, N_OTHER_PROMPTS, HeadControls, HeadsWithoutEffect
from ioi_lab.transfer.head_maps import Head

Control = Literal["mean", "zero", "others", "idle_heads", "other_prompts", "other_layers"]

CONTROLS: Final[Mapping[Control, str]] = {
    "mean": "the replaced head's mean",
    "zero": "zeros",
    "others": "the average of all other heads",
    "idle_heads": "heads without effect in their own model",
    "other_prompts": "its image of other prompts",
    "other_layers": "its image in other layers",
}
"""The controls of a head in the place of another, in words."""

Rows = Float[Array, "replaced prompt"]


@dataclass(frozen=True)
class HeadMargins:
    """The controls of the best head of the source in each place, all beyond the mean of the head that is replaced.

    A row per replaced head. Images are as long as the image of the best head, but for rounding.
    """

    levels: Mapping[Control, Estimate]
    """The recovery by each control; a control that cannot be made is missing."""

    margins: Mapping[Control, Estimate]
    """The recovery by the best head less that by each control, over the same prompts."""

    own_in_other_layers: Estimate | None
    """The recovery by the replaced head's own clean output in the other layers, beyond the mean there."""

    own_above_other_layers: Estimate | None
    """Its recovery in its own place less this: if it is not above 0, the place is not shown to matter."""

    idle: HeadsWithoutEffect

    def not_exceeded(self, row: int) -> list[Control]:
        """Return the controls that the best head is not above with the whole interval of the difference.

        A control that cannot be made is among them, but for other prompts, if all prompts share names.
        """
        required = [name for name in CONTROLS if name in self.margins or name != "other_prompts"]
        return [name for name in required if name not in self.margins or not self.margins[name].exceeds()[row]]


def measure_margins(
    controls: HeadControls,
    replaced: Sequence[Head],
    best: Sequence[Head],
    by_head: Sequence[Mapping[Head, Float[Array, "prompt"]]],
    of_target: tuple[Rows, Rows],
    gap: Float[Array, "1 prompt"],
) -> HeadMargins:
    """Evaluate the controls of the best heads on the target's held-out prompts.

    Args:
        controls: The edits.
        replaced: The heads of the target that are replaced.
        best: For each of them, the head of the source that was chosen on training prompts.
        by_head: For each of them, what each head of the source adds to the logit difference with the replaced head's
            mean.
        of_target: The same for the replaced head's own clean output, and for zeros.
        gap: The clean less the corrupted logit difference.

    """
    own, zero = of_target
    chosen = np.array([of_heads[head] for of_heads, head in zip(by_head, best, strict=True)])
    added: dict[Control, Rows] = {"mean": np.zeros_like(chosen), "zero": zero}
    if (others := _mean_of_heads(by_head, best, list(by_head[0]))) is not None:
        added["others"] = others
    if (of_idle := _mean_of_heads(by_head, best, controls.idle.of_source)) is not None:
        added["idle_heads"] = of_idle
    pairs = list(zip(replaced, best, strict=True))
    if controls.other_prompts:
        added["other_prompts"] = _of_other_prompts(controls, pairs)
    own_elsewhere = None
    if all(controls.idle.places[head] for head in replaced):
        added["other_layers"], own_elsewhere = _in_other_layers(controls, pairs)
    bootstrap = controls.engine.bootstrap
    return HeadMargins(
        levels={name: bootstrap.ratio(rows, gap) for name, rows in added.items()},
        margins={name: bootstrap.ratio(chosen - rows, gap) for name, rows in added.items()},
        own_in_other_layers=None if own_elsewhere is None else bootstrap.ratio(own_elsewhere, gap),
        own_above_other_layers=None if own_elsewhere is None else bootstrap.ratio(own - own_elsewhere, gap),
        idle=controls.idle,
    )


def _mean_of_heads(
    by_head: Sequence[Mapping[Head, Float[Array, "prompt"]]], best: Sequence[Head], among: Sequence[Head]
) -> Rows | None:
    """Return the mean over some heads of the source other than the best one; None if there are no others."""
    rows = [
        [added for head, added in of_heads.items() if head in among and head != own]
        for of_heads, own in zip(by_head, best, strict=True)
    ]
    return np.array([np.mean(row, axis=0) for row in rows]) if all(rows) else None


def _of_other_prompts(controls: HeadControls, pairs: Sequence[tuple[Head, Head]]) -> Rows:
    """Return what images of other prompts add to the replaced heads' means, averaged over these prompts."""
    edits = [edit for pair in pairs for edit in controls.of_other_prompts(*pair)]
    by_pair = _logit_diff(controls, edits).reshape(len(pairs), 1 + N_OTHER_PROMPTS, -1)
    of_others: Array = (by_pair[:, 1:] - by_pair[:, :1]).mean(axis=1)
    return of_others


def _in_other_layers(controls: HeadControls, pairs: Sequence[tuple[Head, Head]]) -> tuple[Rows, Rows]:
    """Return what images, and the replaced heads' own outputs, add to the means there, averaged over the places."""
    edits = [edit for pair in pairs for edit in controls.in_other_layers(*pair)]
    by_place = _logit_diff(controls, edits).reshape(len(pairs), -1, EDITS_PER_PLACE, len(controls.engine.prompts))
    image, own = ((by_place[:, :, index] - by_place[:, :, 0]).mean(axis=1) for index in (1, 2))
    return image, own


def _logit_diff(controls: HeadControls, edits: Sequence[EditSet]) -> Float[Array, "edit prompt"]:
    return controls.engine.run(list(edits), "corrupted").logit_diff
