"""One forward pass through TransformerBridge, whole or only the part of it that a change can reach.

A part leaves out, and takes from the recorded base pass: the blocks before the first edit, the positions before it
(their keys and values are given to the model as a Hugging Face cache, as in generation), the attention or MLP of the
first block if the edits come after them, and in the last block everything but END. Everything else (masks, rotary
angles, norms, logit scaling) stays the model's own code. The engine uses a part only after it has been seen to agree
with the whole pass on the model at hand: see `exactness.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import Pass, Site
from ioi_lab.engine.hooks import Hook, Recorded, by_position
from ioi_lab.engine.overrides import at_end, end_only, keep_output, overridden, skipped, skipped_in_tuple, stopped
from ioi_lab.engine.targets import Targets
from ioi_lab.models.loading import LabModel

KeysValues = tuple[Float[Tensor, "row kv_head pos d_head"], Float[Tensor, "row kv_head pos d_head"]]


@dataclass(frozen=True)
class Part:
    """The part of a pass that is run: blocks `first` to `last`, positions from `start` on.

    `attention`: whether the first block's attention is run, made from its recorded `z` (which edits may then change),
    or kept from the base pass. `keep_mlp`: whether its MLP is kept. `end_only`: whether the last block is computed at
    END alone.
    """

    first: int
    last: int
    start: int = 0
    attention: Literal["run", "from_z", "keep"] = "run"
    keep_mlp: bool = False
    end_only: bool = False

    def reads(self) -> list[Site]:
        """Return the sites that have to be recorded in the base pass for this part to start from."""
        sites = [Site("resid_pre", self.first)] if self.first > 0 else []
        if self.attention != "run":
            sites.append(Site("z" if self.attention == "from_z" else "attn_out", self.first))
        return sites + ([Site("mlp_out", self.first)] if self.keep_mlp else [])


@dataclass(frozen=True)
class Recording:
    """An unedited pass over a bucket: activations at whole sites, `[row, pos, …]`, keys and values by layer, logits."""

    activations: dict[Site, Tensor]
    keys_values: dict[int, KeysValues]
    end_logits: Float[Tensor, "row vocab"]

    def has(self, sites: set[Site], cached_from: int | None, n_layers: int) -> bool:
        """Return whether the sites, and the keys and values from a layer on, are recorded."""
        layers = range(cached_from, n_layers) if cached_from is not None else ()
        return sites <= self.activations.keys() and all(layer in self.keys_values for layer in layers)

    @cached_property
    def bytes(self) -> int:
        """The memory that the tensors take."""
        tensors = [*self.activations.values(), self.end_logits]
        tensors += [tensor for pair in self.keys_values.values() for tensor in pair]
        return sum(tensor.nbytes for tensor in tensors)


@dataclass(frozen=True)
class BasePass:
    """An unedited pass over a bucket: what parts of passes over it start from."""

    bucket: Bucket
    which: Pass
    recorded: Recorded
    keys_values: dict[int, KeysValues]
    """Keys and values by layer, for the layers and positions that parts leave out."""


class Forward:
    """Runs a model up to its logits at END: of the whole vocabulary, or of the answer and the distractor alone."""

    def __init__(self, model: LabModel) -> None:
        self._bridge = model.bridge
        self._n_layers = model.shape.n_layers
        self._skipped = skipped_in_tuple if model.blocks_return_tuples else skipped

    def whole(
        self, bucket: Bucket, which: Pass, hooks: Sequence[Hook], n_slots: int = 1, *, pair_only: bool = False
    ) -> Float[Tensor, "slot row token"]:
        """Run a plain pass; returns logits in float32, of answer and distractor alone if `pair_only`."""
        tokens = bucket.tokens(which).repeat(n_slots, 1)
        return self._end_logits(tokens, hooks, bucket, n_slots, pair_only=pair_only)

    def record(
        self,
        bucket: Bucket,
        which: Pass,
        sites: set[Site],
        cached_from: int | None = None,
        known: Recording | None = None,
    ) -> Recording:
        """Run a plain pass that records sites, and keys and values from a layer on, in addition to what is `known`."""
        activations = dict(known.activations) if known else {}
        keys_values = dict(known.keys_values) if known else {}

        def recording(site: Site) -> Hook:
            def keep(activation: Tensor, hook: object) -> None:
                activations[site] = by_position(activation, site).clone()

            return site.hook, keep

        hooks = [recording(site) for site in sites - activations.keys()]
        cache = DynamicCache() if cached_from is not None else None
        logits = self._end_logits(bucket.tokens(which), hooks, bucket, 1, pair_only=False, cache=cache)[0]
        if cache is not None and cached_from is not None:
            for layer in range(cached_from, self._n_layers):
                kept = cache.layers[layer]
                assert kept.keys is not None
                assert kept.values is not None
                keys_values[layer] = kept.keys, kept.values
        return Recording(activations, keys_values, logits)

    def part(
        self, base: BasePass, part: Part, hooks: Sequence[Hook], n_slots: int, *, pair_only: bool
    ) -> Float[Tensor, "slot row token"]:
        """Return the logits of `whole` from a part of the pass; a pass that ends before the last block has none."""
        blocks = self._bridge.blocks
        tokens = base.bucket.tokens(base.which)[:, part.start :].repeat(n_slots, 1)

        def kept(component: Literal["resid_pre", "z", "attn_out", "mlp_out"]) -> Tensor:
            activation = base.recorded[base.which, Site(component, part.first).hook][:, part.start :]
            return activation.repeat(n_slots, *[1] * (activation.dim() - 1))

        with ExitStack() as stack:
            for index, block in enumerate(blocks):
                if index < part.first:
                    stack.enter_context(overridden(block, self._skipped))
                if index == part.last + 1:
                    stack.enter_context(overridden(block, stopped))
            first, last = blocks[part.first], blocks[part.last]
            if part.attention == "from_z":
                z = kept("z").flatten(2)
                stack.enter_context(
                    overridden(first.attn, lambda *_, **__: (first.attn.hook_out(first.attn.o(z)), None))
                )
            elif part.attention == "keep":
                keep_output(first, "attn_out", kept("attn_out"), stack)
            if part.keep_mlp:
                keep_output(first, "mlp_out", kept("mlp_out"), stack)
            if part.end_only and tokens.shape[1] > 1:
                kept_ones = [first.attn] if part.attention == "keep" else []
                kept_ones += [first.mlp] if part.keep_mlp else []
                for component in (last.attn.q, last.attn.o, last.mlp):
                    if component not in kept_ones:
                        stack.enter_context(overridden(component, end_only(component.forward)))
            resume: list[Hook] = []
            if part.first > 0:
                residual = kept("resid_pre")
                resume = [(Site("resid_pre", part.first).hook, lambda *_, **__: residual)]
            cache = self._prefix_cache(base, part) if part.start > 0 else None
            hooks = [*resume, *hooks]
            return self._end_logits(tokens, hooks, base.bucket, n_slots, pair_only=pair_only, cache=cache)

    def _end_logits(
        self,
        tokens: Tensor,
        hooks: Sequence[Hook],
        bucket: Bucket,
        n_slots: int,
        *,
        pair_only: bool,
        cache: Cache | None = None,
    ) -> Float[Tensor, "slot row token"]:
        end: Hook = ("unembed.hook_in", lambda residual, hook: at_end(residual))
        with ExitStack() as stack:
            if pair_only:
                unembed = self._bridge.unembed
                stack.enter_context(overridden(unembed, _unembed_targets(unembed, bucket.targets)))
            else:
                hooks = [*hooks, end]
            stack.enter_context(self._bridge.hooks(fwd_hooks=list(hooks)))
            logits: Tensor = self._bridge(tokens, past_key_values=cache)
        end_logits: Tensor = logits[:, -1].float().unflatten(0, (n_slots, len(bucket)))
        return bucket.targets.joined(end_logits) if pair_only else end_logits

    def _prefix_cache(self, base: BasePass, part: Part) -> Cache:
        """Return the base pass's keys and values before `start`; layers that are not run only need their length."""
        nothing = next(iter(base.keys_values.values()))[0][:1, :1, : part.start, :1]
        layers = []
        for index in range(self._n_layers):
            keys, values = base.keys_values.get(index, (nothing, nothing))
            layers.append(_PrefixLayer(keys[:, :, : part.start], values[:, :, : part.start]))
        return Cache(layers=layers)


class _PrefixLayer(DynamicLayer):  # type: ignore[misc]  # Transformers carries no types
    """Keys and values of the first positions, the same for every slot of a batch; nothing is added to them."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys, self.values, self.is_initialized = keys, values, True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return the keys and values of all positions `[slot · row, kv_head, pos, d_head]`."""
        assert self.keys is not None
        assert self.values is not None
        return _joined(self.keys, key_states), _joined(self.values, value_states)


def _joined(prefix: Float[Tensor, "row head start d"], new: Float[Tensor, "batch head new d"]) -> Tensor:
    """Return each row's prefix followed by its new positions, in one tensor."""
    (rows, n_heads, start, _), (batch, _, n_new, width) = prefix.shape, new.shape
    whole = new.new_empty(batch, n_heads, start + n_new, width)
    whole.unflatten(0, (-1, rows))[:, :, :, :start] = prefix
    whole[:, :, start:] = new
    return whole


def _unembed_targets(unembed: Any, targets: Targets) -> Callable[..., Tensor]:
    """Return a forward function that gives the logits `[batch, 1, token]` of each row's targets at END."""
    ids = targets.ids
    weight, bias = unembed.original_component.weight, getattr(unembed.original_component, "bias", None)
    # Sets of answers are often the same in all rows: the directions of each row would fill memory.
    tokens, places = (ids, None) if targets.are_single else ids.unique(return_inverse=True)
    directions = weight[tokens]  # [row, 2, d_model] or [token, d_model]

    def forward(residual: Tensor, *_: Any, **__: Any) -> Tensor:
        rows: Tensor = unembed.hook_in(at_end(residual)).unflatten(0, (-1, len(ids)))
        logits: Tensor = rows @ directions.mT
        if places is not None:
            logits = logits.gather(-1, places[:, None].expand(len(logits), -1, -1, -1))
        logits = logits if bias is None else logits + bias[ids][:, None]
        return logits.flatten(0, 1)

    return forward
