"""The proof that parts of passes give a model's own logits: tried on each model before the engine relies on them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import torch

from ioi_lab.engine.batching import part_of, works
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Edit, Site
from ioi_lab.engine.hooks import edit_hooks
from ioi_lab.engine.passes import Passes
from ioi_lab.errors import LabError, folded
from ioi_lab.models.loading import LabModel
from ioi_lab.models.shape import COMPONENTS, Component

log = logging.getLogger(__name__)

_AGREEMENT: Final = 1e-4
"""The largest difference, in logits, between a part of a pass and the whole one in float32."""

_ROUNDING: Final = 4
"""The largest difference in low precision, in rounding errors of the largest logit."""

_FAINT: Final = 0.01
"""An edit whose effect is below this share of what counts as agreement has none."""


class ShortcutProofs:
    """The proofs of the engine's shortcuts on one model: whether parts of passes are exact for each component."""

    def __init__(self) -> None:
        self.proved: dict[tuple[Component, bool], bool] = {}
        """By component, and by whether answer and distractor alone are unembedded."""

    def hold(self, passes: Passes, bucket: Bucket, components: Iterable[Component]) -> bool:
        """Return whether parts of passes are exact for edits of all `components`; each is tried once.

        `bucket` holds one prompt to try them on. Raises a `LabError` for a component at which edits change nothing.
        """
        tried: set[Component] = {"resid_pre", *components}
        for component in sorted(tried, key=COMPONENTS.index):
            key = component, passes.pair_only
            if key not in self.proved:
                self.proved[key] = _part_is_exact(passes, bucket, component)
                if not self.proved[key]:
                    log.warning(
                        "engine: whole passes for %s, as parts are not proved on %s", component, passes.model.shape.name
                    )
        return all(self.proved[component, passes.pair_only] for component in tried)


@lru_cache(maxsize=2)  # like the models themselves
def proofs_of(model: LabModel) -> ShortcutProofs:
    """Return the proofs of a loaded model, which all engines on it share."""
    return ShortcutProofs()


def _part_is_exact(passes: Passes, bucket: Bucket, component: Component) -> bool:
    """Compare whole passes with parts of them under strong edits early, in the middle and late in the model.

    Raises a `LabError` if the edits change nothing: then TransformerLens shows the component, but the model does not
    compute with what is written there.
    """
    shape = passes.model.shape
    if component == "resid_mid":
        _check_resid_mid(passes, bucket)
    last, middle, end = shape.n_layers - 1, bucket.length // 2, bucket.length - 1
    unedited = passes.selected(passes.recording(bucket, "clean", set()).end_logits[None], bucket)
    if not unedited.isfinite().all():
        return False  # nothing can be proved; the measurement itself will report it
    strongest = 0.0
    for layer, position in ((0, middle), (last // 2, middle), (last, end)):
        edit_set = [_strong_edit(passes, bucket, Site(component, layer, None, position))]
        hooks = edit_hooks([edit_set], bucket, {})
        expected = passes.selected(passes.forward.whole(bucket, "clean", hooks), bucket)
        tolerance = max(_AGREEMENT, float(_ROUNDING * passes.model.rounding * expected.abs().max()))
        todo = works(bucket, [edit_set], "clean", shape)
        got = unedited  # if there is nothing to do
        try:
            if todo:
                part = part_of(todo, shape)
                base, _ = passes.base_pass(bucket, todo, "clean", [part])
                got, _ = passes.run_batch(todo * 2, part, base)
        except LabError:
            raise
        except Exception as error:  # an architecture may resist in any way
            log.warning("engine: %s at layer %d: %s", component, layer, folded(error))
            return False
        if not (got - expected).abs().max() <= tolerance:
            return False
        strongest = max(strongest, float((expected - unedited).abs().max()) / tolerance)
    if strongest < _FAINT:
        raise LabError(
            f"component: got {component!r}, but writing there changes nothing in {shape.name}: "
            "TransformerLens only shows it"
        )
    return strongest > 1  # else agreement proves nothing


def _strong_edit(passes: Passes, bucket: Bucket, site: Site) -> Edit:
    """Return an edit that no norm undoes: noise four times as large as the activation, or no attention at all."""
    if site.component == "pattern":
        return Edit(site, "zero")
    activation = passes.recording(bucket, "clean", {site.whole}).activations[site.whole]
    width = site.width(passes.model.shape, bucket.length)
    noise = torch.randn(width, generator=torch.Generator().manual_seed(0))
    return Edit(site, "add", 4 * float(activation.float().std()) * noise)


def _check_resid_mid(passes: Passes, bucket: Bucket) -> None:
    """Raise a `LabError` unless the stream before the MLP is the block's input plus what attention adds."""
    sites = [Site(component, 0) for component in ("resid_pre", "attn_out", "resid_mid")]
    activations = passes.forward.record(bucket, "clean", set(sites)).activations
    before, added, middle = (activations[site] for site in sites)
    if not torch.allclose(before + added, middle, rtol=1e-2 if middle.dtype != torch.float32 else 1e-4, atol=1e-4):
        name = passes.model.shape.name
        raise LabError(f"component: got 'resid_mid', which cannot be distinguished in the blocks of {name}")
