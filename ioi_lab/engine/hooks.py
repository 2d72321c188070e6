"""Edits as hooks on one batched forward pass.

Activations are handled as `[slot, row, pos, *width]`: a slot is one edit set, a row one prompt. A hook may get only the
last positions of the prompts (the earlier ones are known); its offset follows from its size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Edit, EditSet, FromPass, Pass, Site

Hook = tuple[str, Callable[..., Any]]
"""A TransformerLens hook name and a function `(activation, hook) -> new activation | None`."""

Recorded = dict[tuple[Pass, str], Tensor]
"""Activations of the unedited passes by pass and hook name, each `[row, pos, …]` as `by_position` returns it."""


def by_position(activation: Tensor, site: Site) -> Tensor:
    """Return a view with the position second: patterns come as `[batch, head, query pos, key pos]`."""
    return activation.transpose(1, 2) if site.component == "pattern" else activation


def edit_hooks(batch: Sequence[EditSet], bucket: Bucket, recorded: Recorded) -> list[Hook]:
    """Return the hooks that apply to each slot of a batch the edits of its set, in the order of the forward pass."""
    by_site: dict[tuple[int, int], list[tuple[int, Edit]]] = defaultdict(list)
    for slot, edit_set in enumerate(batch):
        for edit in edit_set:
            by_site[edit.site.layer, edit.site.stage].append((slot, edit))
    hooks: list[Hook] = []
    for _, edits in sorted(by_site.items()):
        write = _writer(edits, len(batch), bucket, recorded)
        hooks += residual_mid(edits[0][1].site.layer, write) if edits[0][1].site.component == "resid_mid" else [write]
    return hooks


def residual_mid(layer: int, write: Hook) -> list[Hook]:
    """Return `write`, a hook for `resid_mid`, as hooks that change both of what the stream runs into there.

    TransformerLens' `hook_resid_mid` is the input of the second norm or of the MLP alone: writing there would leave the
    residual connection as it was. So the change is also added to the block's output.
    """
    changes: list[Tensor] = []

    def change(residual: Tensor, hook: object) -> Tensor:
        edited: Tensor = write[1](residual, hook)
        changes[:] = [edited - residual]
        return edited

    def carry(output: Tensor, hook: object) -> Tensor:
        (added,) = changes
        carried = output.clone()
        carried[:, -added.shape[1] :] += added  # of the last block, maybe END alone
        return carried

    return [(Site("resid_mid", layer).hook, change), (Site("resid_post", layer).hook, carry)]


def _writer(edits: list[tuple[int, Edit]], n_slots: int, bucket: Bucket, recorded: Recorded) -> Hook:
    site = edits[0][1].site

    def write(activation: Tensor, hook: object) -> Tensor:
        edited = activation.clone()
        slots = by_position(edited, site).unflatten(0, (n_slots, len(bucket)))
        for slot, edit in edits:
            apply(edit, slots[slot], bucket, recorded)
        return edited

    return site.hook, write


def apply(edit: Edit, activation: Tensor, bucket: Bucket, recorded: Recorded) -> None:
    """Apply one edit in place to the last positions `[row, pos, *width]` of a pass."""
    offset = bucket.length - activation.shape[1]
    value = _value(edit, activation, bucket, recorded)
    if edit.site.head is not None:
        activation = activation[:, :, edit.site.head]
    if edit.site.position == "all":
        activation.copy_(_changed(edit, activation, value[:, offset:] if value is not None else None))
        return
    rows, positions = bucket.places(edit.site.position)
    if offset:
        reached = positions >= offset
        rows, positions = rows[reached], positions[reached]
    old = activation[rows, positions - offset]
    activation[rows, positions - offset] = _changed(edit, old, value[rows, positions] if value is not None else None)


def _changed(edit: Edit, old: Tensor, value: Tensor | None) -> Tensor:
    if edit.operation == "zero":
        return torch.zeros_like(old)
    if edit.operation == "scale":
        return edit.scale * old
    assert value is not None  # checked by `Edit.check`
    return value if edit.operation == "replace" else old + edit.scale * value


def _value(edit: Edit, activation: Tensor, bucket: Bucket, recorded: Recorded) -> Tensor | None:
    """Return the value of an edit at every place of the bucket: `[row, pos, *width]`."""
    if isinstance(edit.value, FromPass):
        source = recorded[edit.value.which, edit.site.hook]
        return source[:, :, edit.site.head] if edit.site.head is not None else source
    if edit.value is None:
        return None
    value: Tensor = edit.value.to(activation)
    if value.dim() == 1:
        value = value[None, None]
    elif value.dim() == 2:
        value = value[bucket.index][:, None]
    else:
        value = value[bucket.index][:, : bucket.length]
    heads = [activation.shape[2]] if edit.site.has_heads and edit.site.head is None else []
    value = value.unflatten(-1, (*heads, -1))[..., : activation.shape[-1]]  # patterns: as many keys as there are
    return value.expand(len(bucket), bucket.length, *value.shape[2:])
