"""One direction of swapping heads between models: what a foreign head recovers in the place of a native one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from ioi_lab.interventions.baselines import estimates_of
from ioi_lab.interventions.self_checks import SelfChecks, checked_run
from ioi_lab.interventions.transfer.by_prompt import ByPrompt
from ioi_lab.interventions.transfer.head_grid import PairGrid, measure_grid
from ioi_lab.interventions.transfer.head_margins import Control, HeadMargins, measure_margins
from ioi_lab.models.heads import head_name
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import ROUNDING, discover
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import Position
from ioi_lab.transfer.head_maps import Head, MapTraining
from ioi_lab.transfer.heads import MEAN, OWN, ZERO, HeadSwap

Verdict = Literal[
    "beats every control", "beats other heads, mean and zero", "beats mean and zero", "beats not even mean and zero"
]
"""Which controls the foreign head recovers more than, with the whole interval of each difference."""

AT_EQUAL_LENGTH: Final[Sequence[Control]] = ("idle_heads", "other_prompts", "other_layers")
"""The controls in addition to other heads, one by one, the head's own mean and zeros."""


@dataclass(frozen=True)
class OtherHeads:
    """The other heads of the source in the same place, as controls."""

    rows: list[int]
    """Their rows, from the largest recovery to the smallest."""

    mean_recovery: float
    best_recovery: float


@dataclass(frozen=True)
class HeadSwapResult:
    """The numbers of one direction, measured on the held-out prompts of the model whose head is replaced.

    Recovery is that of the target's corrupted pass towards its clean pass. Each row is one thing that is written in the
    head's place.
    """

    source: str
    target: str
    position: Position
    n_prompts: int
    n_training_prompts: int
    n_dropped_prompts: int
    chosen: Head
    """The head of the source that replaces `replaced`."""

    replaced: Head
    role: str | None
    """The role by which the two heads are paired; None if they are paired by patching or by name."""

    of_role: list[Head]
    """The heads of the source with this role, which are no controls of each other."""

    names: list[str]
    """The names of what is written: `own clean`, `own mean`, `zeroed`, or the name of a head of the source."""

    estimates: dict[str, Estimate]
    """Each metric of `results.csv`, row by row."""

    by_prompt: ByPrompt
    """The readout behind `estimates`, row by row."""

    shares: Estimate
    """The effect of each row as a share of that of the head's own clean output."""

    share_beyond_mean: Estimate
    """What the chosen head adds to the replaced head's own mean, as a share of what its own clean output adds."""

    margins: Estimate
    """The recovery of the chosen head less that of each row."""

    own_row: int
    mean_row: int
    zero_row: int
    chosen_row: int
    others: OtherHeads | None
    """The other heads of the source; None if there are none."""

    own_recovers: bool
    """Whether the head's own clean output recovers more than 0 with its whole interval: else there is no effect to
    transfer."""

    unbeaten: list[str]
    """The controls that the chosen head does not recover more than, with the whole interval of the difference."""

    equal_length: HeadMargins
    """How far the chosen head is above its controls at equal length, beyond the mean: one row."""

    unbeaten_at_equal_length: list[Control]
    """Those that it does not recover more than, with the whole interval of the difference, or that cannot be made."""

    verdict: Verdict
    cosine_to_own: Estimate
    """The cosine between what is written and the head's own clean output, each less its mean."""

    length_to_own: float
    """The norm of the former before it is scaled to the latter's, as a share of it, on the training prompts."""

    map_r2: float
    """The R² of the map between the two heads on what it was not fitted to: texts, or the held-out prompts."""

    training: MapTraining | None
    """How the maps were trained by stitching; None if they were not."""

    source_patching_recovery: float
    """The recovery on the training prompts from patching the chosen head in the source."""

    patching_recovery: float
    """The recovery on the training prompts from patching the replaced head in the target."""

    source_layers: list[int]
    beyond_mean: Float[Array, "source_layer source_head"]
    """The recovery of each head of the source less that of the replaced head's own mean."""

    beyond_mean_not_found: Bool[NDArray[np.bool_], "source_layer source_head"] | None
    """Those that are not distinguishable from 0, corrected for their number; None without tests."""

    grid: PairGrid
    """Every head of the source in the place of several heads of the target."""

    @property
    def name(self) -> str:
        """The direction, such as `tiny-gpt2 → tiny-pythia`."""
        return f"{self.source} → {self.target}"

    @property
    def beats_mean_and_zero(self) -> bool:
        """Whether the foreign head recovers more than the head's own mean and zeros, with the whole interval."""
        return self.verdict != "beats not even mean and zero"

    @property
    def comes_over(self) -> bool:
        """Whether there is an effect to transfer, and the foreign head recovers some of it and more than controls."""
        recovers = bool(self.recovery.exceeds()[self.chosen_row])
        return self.own_recovers and self.has_function and recovers and self.verdict == "beats every control"

    @property
    def has_function(self) -> bool:
        """Whether the foreign head is not among those without effect in its own model."""
        return self.chosen not in self.equal_length.idle.of_source

    @property
    def n_others(self) -> int:
        """The number of other heads of the source."""
        return 0 if self.others is None else len(self.others.rows)

    @property
    def recovery(self) -> Estimate:
        """The recovery of each row."""
        return self.estimates["recovery"]


def measure_head_swap(swap: HeadSwap) -> tuple[HeadSwapResult, SelfChecks]:
    """Evaluate the edits of a swap on the target's held-out prompts."""
    engine = swap.target.held_out
    readout, checks = checked_run(engine, list(swap.edits.values()), "corrupted")
    estimates = estimates_of(engine, readout)
    gap = engine.baseline("clean").logit_diff - engine.baseline("corrupted").logit_diff
    own, mean, zero, chosen = (swap.row(name) for name in (OWN, MEAN, ZERO, head_name(swap.chosen)))
    moved: Float[Array, "row prompt"] = readout.logit_diff - engine.baseline("corrupted").logit_diff
    beyond = moved - moved[[mean]]
    head_rows = {head: swap.row(head_name(head)) for head in swap.recoveries[0]}
    of_heads = {head: beyond[row] for head, row in head_rows.items()}
    margins = engine.bootstrap.ratio(moved[[chosen]] - moved, gap)
    equal_length = measure_margins(
        swap.controls, [swap.replaced], [swap.chosen], [of_heads], (beyond[[own]], beyond[[zero]]), gap
    )
    other_rows = [row for row in range(len(swap.names)) if row not in (own, mean, zero, chosen)]
    of_role = [] if swap.role is None else list(swap.role.source_heads)
    controls = [row for row in other_rows if swap.names[row] not in map(head_name, of_role)]
    unbeaten = [swap.names[row] for row in (mean, zero, *controls) if not margins.exceeds()[row]]
    unbeaten_at_equal_length = [name for name in AT_EQUAL_LENGTH if name in equal_length.not_exceeded(0)]
    recovery = estimates["recovery"].value
    source_layers = list(dict.fromkeys(layer for layer, _ in head_rows))
    shape = (len(source_layers), -1)
    not_found = discover(beyond[list(head_rows.values())], gap, engine.bootstrap, ROUNDING).not_found
    result = HeadSwapResult(
        source=swap.source.name,
        target=swap.target.name,
        position=swap.position,
        n_prompts=len(engine.prompts),
        n_training_prompts=len(swap.target.contrast.training),
        n_dropped_prompts=swap.target.contrast.n_dropped,
        chosen=swap.chosen,
        replaced=swap.replaced,
        role=None if swap.role is None else swap.role.name,
        of_role=of_role,
        names=swap.names,
        estimates=estimates,
        by_prompt=ByPrompt.of(engine, readout),
        shares=engine.bootstrap.ratio(moved, moved[[own]]),
        share_beyond_mean=engine.bootstrap.ratio(beyond[[chosen]], beyond[[own]]),
        margins=margins,
        own_row=own,
        mean_row=mean,
        zero_row=zero,
        chosen_row=chosen,
        others=_other_heads(other_rows, recovery),
        own_recovers=bool(estimates["recovery"].exceeds()[own]),
        unbeaten=unbeaten,
        equal_length=equal_length,
        unbeaten_at_equal_length=unbeaten_at_equal_length,
        verdict=_verdict(unbeaten, unbeaten_at_equal_length),
        cosine_to_own=engine.bootstrap.mean(swap.cosines[None]),
        length_to_own=swap.length,
        map_r2=swap.map_r2,
        training=swap.training,
        source_patching_recovery=swap.recoveries[0][swap.chosen],
        patching_recovery=swap.recoveries[1][swap.replaced],
        source_layers=source_layers,
        beyond_mean=(recovery[list(head_rows.values())] - recovery[mean]).reshape(shape),
        beyond_mean_not_found=None if not_found is None else not_found.reshape(shape),
        grid=measure_grid(*swap.grids, swap.controls),
    )
    return result, checks


def _other_heads(rows: list[int], recovery: Float[Array, "row"]) -> OtherHeads | None:
    if not rows:
        return None
    values = recovery[rows]
    return OtherHeads(sorted(rows, key=lambda row: -recovery[row]), float(values.mean()), float(values.max()))


def _verdict(unbeaten: list[str], at_equal_length: list[Control]) -> Verdict:
    if not unbeaten:
        return "beats other heads, mean and zero" if at_equal_length else "beats every control"
    return "beats not even mean and zero" if MEAN in unbeaten or ZERO in unbeaten else "beats mean and zero"
