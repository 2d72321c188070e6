"""What is tried on the blocks of a model: their kinds, the stream within them, and passes that end after one."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Final

import torch
from torch import Tensor

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Site
from ioi_lab.engine.forward import BasePass, Part
from ioi_lab.engine.hooks import Hook, residual_mid
from ioi_lab.engine.passes import Passes, whole_work
from ioi_lab.engine.shown import strong_edit
from ioi_lab.errors import LabError, folded
from ioi_lab.models.shape import Component

log = logging.getLogger(__name__)

_AGREEMENT: Final = 1e-4
"""The largest difference between equal activations in float32, as a share of the largest one or of 1."""

_STREAM: Final[tuple[Component, ...]] = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")

_ROUNDING: Final = 16
"""The largest such difference in low precision, in rounding errors."""


def telling_layers(passes: Passes, component: Component) -> list[int]:
    """Return the layers at which a component is tried: the first, one in the middle, the last, one of each kind."""
    layers = passes.model.shape.layers(component)
    of_each_kind = {kind_of_block(passes, layer): layer for layer in reversed(layers)}
    return sorted({layers[0], layers[(len(layers) - 1) // 2], layers[-1], *of_each_kind.values()})


def kind_of_block(passes: Passes, layer: int) -> Hashable:
    """Return a key that is equal for layers whose blocks are made alike: the same parts, and the same attention."""
    block = passes.model.bridge.blocks[layer].original_component
    parts = tuple((name, type(module).__name__) for name, module in block.named_children())
    kinds = getattr(passes.model.bridge.original_model.config, "layer_types", None)
    return parts, kinds[layer] if isinstance(kinds, list | tuple) and layer < len(kinds) else None


def same(got: Tensor, expected: Tensor, passes: Passes) -> bool:
    """Return whether two activations are equal up to rounding."""
    tolerance = max(_AGREEMENT, _ROUNDING * passes.model.rounding) * max(1.0, float(expected.abs().max()))
    return bool((got.float() - expected.float()).abs().max() <= tolerance)


def captures_are_exact(passes: Passes, bucket: Bucket, component: Component) -> bool:
    """Return whether passes that begin and end at some layer show a component as whole passes do.

    The input of the first block that is run is edited; `bucket` holds one prompt.
    """
    layers = telling_layers(passes, component)
    passes.recording(bucket, "clean", {Site("resid_pre", layer) for layer in layers})  # which parts start from
    for layer in layers:
        site = Site(component, layer)
        for first in {0, layer}:
            work = whole_work(0, [strong_edit(passes, bucket, Site("resid_pre", first, None, bucket.length // 2))])
            part = Part(first=first, last=layer)
            _, expected = passes.run_batch([work], None, BasePass(bucket, "clean", {}, {}), [site])
            try:
                base, _ = passes.base_pass(bucket, [work], "clean", [part])
                _, got = passes.run_batch([work] * 2, part, base, [site])
            except LabError:
                raise
            except Exception as error:  # the architecture resists, in any way
                log.warning("engine: captured %s at layer %d: %s", component, layer, folded(error))
                return False
            if not same(got[site], expected[site], passes):
                return False
    return True


def check_what_is_written(passes: Passes, bucket: Bucket, component: Component) -> None:
    """Raise a `LabError` unless `resid_mid` is the stream between attention and MLP, and `attn_out` is not.

    The stream there is what a block's output follows from: neither one of two addends nor, in parallel blocks, the
    input of the second norm. BERT's attention puts out the stream itself.
    """
    name = passes.model.shape.name
    if component == "resid_mid" and not _is_stream(passes, bucket, component):
        raise LabError(f"component: got 'resid_mid', which cannot be distinguished in the blocks of {name}")
    if component == "attn_out" and _is_stream(passes, bucket, component):
        raise LabError(
            f"component: got 'attn_out', which is not a component of {name}: the output of its attention includes the "
            "residual stream; expected resid_pre or resid_post"
        )


def _is_stream(passes: Passes, bucket: Bucket, component: Component) -> bool:
    """Return whether the blocks' outputs follow from a component, whatever their inputs are.

    In one pass, the component is taken from a pass over a noisy prompt and the blocks' inputs from the plain one: the
    blocks' outputs are then those of the noisy pass, or not.
    """
    layers = passes.model.shape.layers(component)
    noise = strong_edit(passes, bucket, Site("resid_pre", 0))
    assert isinstance(noise.value, Tensor)
    noisy = noise.value.to(bucket.index.device)[bucket.index][:, : bucket.length]
    inputs, written, outputs = (
        [Site(name, layer) for layer in layers] for name in ("resid_pre", component, "resid_post")
    )
    plain = passes.recording(bucket, "clean", set(inputs)).activations
    wanted: dict[Site, Tensor] = {}
    got: dict[Site, Tensor] = {}

    def kept(site: Site, into: dict[Site, Tensor]) -> Hook:
        def keep(activation: Tensor, hook: object) -> None:
            into[site] = activation.clone()

        return site.hook, keep

    def taken(site: Site, values: dict[Site, Tensor]) -> Hook:
        return site.hook, lambda activation, hook: values[site]

    start: Hook = (Site("resid_pre", 0).hook, lambda activation, hook: activation + noisy.to(activation))
    hooks = [taken(site, plain) for site in inputs]
    for site in written:
        write = taken(site, wanted)
        hooks += residual_mid(site.layer, write) if component == "resid_mid" else [write]
    with torch.no_grad():
        passes.forward.whole(bucket, "clean", [start, *(kept(site, wanted) for site in [*written, *outputs])])
        try:
            passes.forward.whole(bucket, "clean", [*hooks, *(kept(site, got) for site in outputs)])
        except RuntimeError as error:  # OPT's second norm is given another shape if norms follow the sums
            log.warning("engine: writing at %s: %s", component, folded(error))
            return False
    return all(same(got[site], wanted[site], passes) for site in outputs)


def stream_is_sum(passes: Passes, bucket: Bucket) -> bool:
    """Return whether each block adds what its attention and its MLP put out to the stream, and does no more."""
    shape = passes.model.shape
    whole = {Site(component, layer) for component in _STREAM for layer in shape.layers(component)}
    activations = passes.recording(bucket, "clean", whole).activations
    for layer in range(shape.n_layers):
        before, attention, middle, mlp, after = (activations.get(Site(component, layer)) for component in _STREAM)
        if after is None or mlp is None:
            continue
        if attention is not None and before is not None and not same(before + attention + mlp, after, passes):
            return False
        if attention is None and middle is not None and not same(middle + mlp, after, passes):
            return False
    return True
