"""First-order estimates of edits: their effects if the model were linear around a pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import OTHER_PASS, EditSet, Pass, Site
from ioi_lab.engine.forward import Forward
from ioi_lab.engine.hooks import Hook, Recorded, apply, by_position
from ioi_lab.engine.passes import Passes

INPUT = Site("resid_pre", 0)
"""The site along which integrated gradients go from one pass to the other: the embedded prompt."""


def estimated_changes(
    passes: Passes, bucket: Bucket, edit_sets: Sequence[EditSet], base: Pass, sites: Sequence[Site], ig_steps: int
) -> Float[Tensor, "edit_set row"]:
    """Return the estimated change of each row's logit difference by each edit set, which touch the whole `sites`."""
    recorded = {
        (which, site.hook): activation
        for which in OTHER_PASS
        for site, activation in passes.recording(bucket, which, {*sites, INPUT}).activations.items()
    }
    slopes = gradients(passes.forward, bucket, base, sites, recorded, ig_steps)
    return torch.stack([first_order(edit_set, base, bucket, recorded, slopes) for edit_set in edit_sets])


def gradients(
    forward: Forward, bucket: Bucket, base: Pass, sites: Iterable[Site], recorded: Recorded, ig_steps: int
) -> dict[Site, Tensor]:
    """Return the gradients of each row's logit difference at whole sites, `[row, pos, *width]`.

    They are taken at the base pass, or, with `ig_steps` > 0, averaged over that many points (midpoint rule) on the
    straight line from the base pass's embedded prompt to the other's, both in `recorded` (Sundararajan et al. 2017,
    arXiv 1703.01365; on inputs as in Hanna et al. 2024, arXiv 2403.17806).
    """
    start, end = recorded[base, INPUT.hook], recorded[OTHER_PASS[base], INPUT.hook]
    points = [(step + 0.5) / ig_steps for step in range(ig_steps)] or [0.0]
    total: dict[Site, Tensor] = {}
    for point in points:
        for site, gradient in _at(forward, bucket, base, list(sites), torch.lerp(start, end, point)).items():
            total[site] = total[site] + gradient if site in total else gradient
    return {site: gradient / len(points) for site, gradient in total.items()}


def _at(forward: Forward, bucket: Bucket, base: Pass, sites: list[Site], embedded: Tensor) -> dict[Site, Tensor]:
    kept: dict[Site, Tensor] = {}
    # The stream between attention and MLP goes into the second norm and, past the MLP, into the block's output.
    outputs = {site: Site("resid_post", site.layer) for site in sites if site.component == "resid_mid"}

    def keep(site: Site) -> Hook:
        def retain(activation: Tensor, hook: object) -> Tensor:
            if site in outputs:
                activation = activation.view_as(activation)  # else its gradient is that of the residual connection too
            activation.retain_grad()
            kept[site] = activation
            return activation  # else TransformerLens goes on with what it reshaped this from

        return site.hook, retain

    with torch.enable_grad():
        leaf = embedded.detach().clone().requires_grad_()
        enter: Hook = (INPUT.hook, lambda activation, hook: leaf)
        logits = forward.whole(bucket, base, [enter, *map(keep, {*sites, *outputs.values()})], pair_only=True)
        (logits[..., 0] - logits[..., 1]).sum().backward()
    slopes = {}
    for site, activation in kept.items():
        assert activation.grad is not None
        slopes[site] = by_position(activation.grad.float(), site)
    return {site: slopes[site] + slopes[outputs[site]] if site in outputs else slopes[site] for site in sites}


def first_order(
    edit_set: EditSet, base: Pass, bucket: Bucket, recorded: Recorded, slopes: dict[Site, Tensor]
) -> Tensor:
    """Return the estimated change `[row]` of the logit difference: Σ (edited − base activation) · gradient."""
    change = torch.zeros(len(bucket), device=bucket.device)
    for edit in edit_set:
        old, slope = recorded[base, edit.site.hook], slopes[edit.site.whole]
        new = old.clone()
        apply(edit, new, bucket, recorded)
        if edit.site.head is not None:
            old, new, slope = (values[:, :, edit.site.head] for values in (old, new, slope))
        change += ((new - old).float() * slope.float()).flatten(1).sum(dim=1)
    return change


def sites_of(edit_sets: Iterable[EditSet]) -> list[Site]:
    """Return the whole sites, without head and position, that edits touch."""
    return list(dict.fromkeys(edit.site.whole for edits in edit_sets for edit in edits))
