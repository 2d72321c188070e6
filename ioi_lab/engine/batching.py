"""Batching: the part of a pass that each edit set needs, and the edit sets that share a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Edit, EditSet, FromPass, Pass, Site
from ioi_lab.engine.forward import Part
from ioi_lab.models.shape import ModelShape

ReadoutKind = Literal["full", "logit_diff"]
"""`full` unembeds END into the whole vocabulary, as probabilities and KL need; `logit_diff` into two tokens."""

Shortcut = Literal["sublayers", "positions", "blocks"]
"""What a part of a pass leaves out.

`blocks`: the blocks before the first edit. `positions`: also the positions before it, and all but END in the last
block. `sublayers`: also the attention or MLP of the first block that comes before the edits.
"""

SHORTCUTS: Final[tuple[Shortcut, ...]] = get_args(Shortcut)
"""The shortcut that leaves out most first."""

_MIN_TOKENS: Final = {"cpu": 192, "cuda": 16_384}
"""Tokens that keep the device busy: edit sets that need different parts share a batch only up to this many."""

_MAX_TOKENS: Final = {"cpu": 2560, "cuda": 262_144}
"""More tokens in a batch gain nothing."""

_Z, _MLP = Site("z", 0).stage, Site("mlp_out", 0).stage
_AFTER_KEYS: Final = frozenset({"q", "pattern", "z", "attn_out", "resid_mid", "mlp_out", "resid_post"})
"""Components of the last block of which only END is read: no later attention reads the other positions."""


@dataclass(frozen=True, eq=False)
class Work:
    """The work that one edit set needs."""

    index: int
    """The index of the edit set in its list."""

    edits: EditSet
    """Its edits that can change something."""

    first: int
    """The first layer that they change."""

    start: int
    """The first position that they change."""


def works(
    bucket: Bucket, edit_sets: Sequence[EditSet], base: Pass, shape: ModelShape, shortcut: Shortcut = "sublayers"
) -> list[Work]:
    """Return the work that the edit sets need in this bucket; those that provably change nothing at END need none."""
    found = []
    for index, edit_set in enumerate(edit_sets):
        ordered = sorted(edit_set, key=lambda edit: (edit.site.layer, edit.site.stage))
        edits = [_earliest(edit, shape) for edit in ordered]
        starts = [_first_change(bucket, edit, base, shape) for edit in edits]
        if not all(_restores(edit, base) for edit in edits):  # else they are a self-check, which has to be run
            starts = [
                bucket.length if _restores(edit, base) else start for edit, start in zip(edits, starts, strict=True)
            ]
        # An edit without effect of its own is left out only before the first that has one: later it may undo that.
        changing = [position for position, start in enumerate(starts) if start < bucket.length]
        if changing:
            edits = edits[changing[0] :]
            start = 0 if shortcut == "blocks" else min(starts)
            found.append(Work(index, edits, min(edit.site.layer for edit in edits), start))
    return found


def _first_change(bucket: Bucket, edit: Edit, base: Pass, shape: ModelShape) -> int:
    end_only = edit.site.layer == shape.n_layers - 1 and edit.site.component in _AFTER_KEYS
    return bucket.first_change(edit, base, end_only=end_only)


def _restores(edit: Edit, base: Pass) -> bool:
    """Return whether an edit writes the activation of the edited pass itself, which changes nothing by itself."""
    return edit.operation == "replace" and isinstance(edit.value, FromPass) and edit.value.which == base


def _earliest(edit: Edit, shape: ModelShape) -> Edit:
    """A block's output is the next one's input: an edit there need not run the block that made it."""
    site = edit.site
    if site.component != "resid_post" or site.layer == shape.n_layers - 1:
        return edit
    return replace(edit, site=replace(site, component="resid_pre", layer=site.layer + 1))


def batches(
    works: Sequence[Work], bucket: Bucket, device: str, max_slots: Callable[[int], int]
) -> Iterator[list[Work]]:
    """Yield batches of work; `max_slots(start)` edit sets fit into memory if positions from `start` on are run.

    A batch runs from the first layer and position that one of its sets needs, so sets that need different parts share a
    batch only until it is large enough for the device.
    """
    enough, most = (limits.get(device, limits["cuda"]) for limits in (_MIN_TOKENS, _MAX_TOKENS))
    batch: list[Work] = []
    for work in sorted(works, key=lambda work: (work.first, work.start)):
        if batch:
            start = min(work.start, *(member.start for member in batch))
            tokens_of_a_slot = len(bucket) * (bucket.length - start)
            fits = len(batch) + 1 <= min(max_slots(start), max(1, most // tokens_of_a_slot))
            alike = (work.first, work.start) == (batch[0].first, batch[0].start)
            if not fits or (not alike and len(batch) * tokens_of_a_slot >= enough):
                yield batch
                batch = []
        batch.append(work)
    if batch:
        yield batch


def part_of(batch: Sequence[Work], shape: ModelShape, shortcut: Shortcut = "sublayers") -> Part:
    """Return the part of a pass that a batch needs, up to the logits, if no more than `shortcut` is left out."""
    first, last = min(work.first for work in batch), shape.n_layers - 1
    if shortcut == "blocks":
        return Part(first, last)
    start = min(work.start for work in batch)
    if shortcut == "positions":
        return Part(first, last, start, end_only=True)
    sites = [edit.site for work in batch for edit in work.edits if edit.site.layer == first]
    earliest = min(site.stage for site in sites)
    if earliest > _Z:
        attention: Literal["run", "from_z", "keep"] = "keep"
    else:
        attention = "from_z" if earliest == _Z else "run"
    return Part(
        first=first,
        last=last,
        start=start,
        attention=attention,
        keep_mlp=earliest >= _MLP or (shape.parallel and earliest > 0),
        end_only=True,
    )


def part_to_capture(batch: Sequence[Work], capture: Sequence[Site]) -> Part:
    """Return the part of a pass that shows some sites to a batch: every position, up to the last of their layers."""
    layers = [site.layer for site in capture]
    return Part(first=min([work.first for work in batch] + layers), last=max(layers))
