"""Components that TransformerLens only shows: what is written there does not reach the model's own computation."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import OTHER_PASS, Edit, EditSet, Pass, Site
from ioi_lab.engine.forward import BasePass
from ioi_lab.engine.passes import Passes, whole_work
from ioi_lab.models.shape import Component

_READER: Final[dict[Component, Component]] = {
    "resid_pre": "resid_post",
    "q": "pattern",
    "k": "pattern",
    "v": "z",
    "pattern": "z",
    "z": "attn_out",
    "attn_out": "resid_post",
    "resid_mid": "resid_post",
    "mlp_out": "resid_post",
}
"""By component, the one of the same layer that is computed from it: if it depends on the prompt, noise changes it."""

_NOISE: Final = 4
"""The size of noise, as a multiple of the activation's standard deviation: no norm undoes it."""

_FAINT: Final = 0.01
"""A change below this share of the differences between prompts is none."""


def strong_edit(passes: Passes, bucket: Bucket, site: Site) -> Edit:
    """Return an edit that writes noise far larger than the activation; into a pattern, zeros: no attention at all.

    Noise differs from position to position: the same change of all keys would change no pattern.
    """
    if site.component == "pattern":
        return Edit(site, "zero")
    activation = passes.recording(bucket, "clean", {site.whole}).activations[site.whole]
    places = (len(bucket.prompts), bucket.prompts.longest) if site.position == "all" else ()
    width = site.width(passes.model.shape, bucket.length)
    noise = torch.randn(*places, width, generator=torch.Generator().manual_seed(0))
    size = float(activation.float().std())
    return Edit(site, "add", _NOISE * (size if size > 0 else 1.0) * noise)


def is_only_shown(passes: Passes, bucket: Bucket, component: Component) -> bool:
    """Return whether the model computes what reads a component from something else than what is written there.

    That is so if what reads it depends on the prompt, but stays as it is when noise is written at all positions: a head
    whose output is always 0 proves nothing. Heads and layers are judged together.

    Args:
        passes: The passes of the model.
        bucket: Some prompts: whether an activation depends on the prompt is seen in them, clean and corrupted.
        component: The component at which nothing that was written has changed the logits.

    """
    reader = _READER.get(component)
    if reader is None:  # the stream after a block, which the next one reads
        return False
    depends = False
    shape = passes.model.shape
    for layer in shape.layers(component):
        read = Site(reader, layer)
        if layer not in shape.layers(reader):
            return False
        clean, corrupted = (_reading(passes, bucket, which, (), read) for which in OTHER_PASS)
        edited = _reading(passes, bucket, "clean", [strong_edit(passes, bucket, Site(component, layer))], read)
        difference = max(_largest(clean - clean[:1]), _largest(clean - corrupted))
        if not _largest(edited - clean) <= _FAINT * difference:
            return False
        depends |= difference > 0
    return depends


def _reading(passes: Passes, bucket: Bucket, which: Pass, edits: EditSet, read: Site) -> Tensor:
    """Return the activation of a site in a whole pass under edits, `[row, pos, width]`."""
    _, captured = passes.run_batch([whole_work(0, edits)], None, BasePass(bucket, which, {}, {}), [read])
    return captured[read][0]


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())
