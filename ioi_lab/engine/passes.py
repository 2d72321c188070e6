"""Passes over one bucket of prompts: unedited ones, which are recorded, and batches of edited ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ioi_lab.engine.batching import Work
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.edits import EditSet, FromPass, Pass, Site
from ioi_lab.engine.forward import BasePass, Forward, Part, Recording
from ioi_lab.engine.hooks import Hook, by_position, edit_hooks
from ioi_lab.engine.memory import MemoryGb
from ioi_lab.engine.recordings import RecordingCache
from ioi_lab.errors import LabError
from ioi_lab.models.loading import LabModel
from ioi_lab.stats.metrics import Extra

ALL_LAYERS: Final = sys.maxsize
"""The first layer of work without edits: none has to be run again."""


@dataclass(frozen=True)
class BatchResult:
    """The result of one batch: logits `[slot, row, token]` of the edit sets `indices` over a bucket."""

    bucket: Bucket
    indices: list[int]
    logits: Tensor
    references: Mapping[str, Tensor]
    """By the KL that is measured from it (`kl`, `kl_clean`): the log-probabilities `[row, vocab]` of an unedited pass;
    empty if the logits are those of answer and distractor alone."""

    captured: dict[Site, Tensor]


class Passes:
    """Runs passes of one model over buckets of prompts.

    `pair_only`: compute the logits of answer and distractor alone. `longest`: the length of the longest prompt, to
    whose size captured patterns are padded. `extra`: what is read in addition, if the logits are those of all tokens.
    """

    def __init__(
        self,
        model: LabModel,
        memory_gb: MemoryGb,
        cache: RecordingCache,
        longest: int,
        *,
        pair_only: bool,
        extra: tuple[Extra, ...] = (),
    ) -> None:
        self.model = model
        self.forward = Forward(model)
        self.pair_only = pair_only
        self._memory_gb = memory_gb
        self._cache = cache
        self._longest = longest
        self.extra = extra

    def also_reading(self, extra: tuple[Extra, ...]) -> Passes:
        """Return passes, with the same recordings, of which more is read."""
        return Passes(self.model, self._memory_gb, self._cache, self._longest, pair_only=self.pair_only, extra=extra)

    @torch.no_grad()
    def recording(self, bucket: Bucket, which: Pass, sites: set[Site], cached_from: int | None = None) -> Recording:
        """Return activations of an unedited pass at whole sites, and keys and values from the layer `cached_from` on.

        The pass is run only if an earlier recording lacks some of them.
        """
        recording = self._cache.find(bucket, which)
        if recording is None or not recording.has(sites, cached_from, self.model.shape.n_layers):
            recording = self.forward.record(bucket, which, sites, cached_from, recording)
        self._cache.put(bucket, which, recording)
        return recording

    def base_pass(
        self, bucket: Bucket, todo: Sequence[Work], base: Pass, parts: Sequence[Part]
    ) -> tuple[BasePass, Float[Tensor, "row vocab"]]:
        """Return the activations that edits read and parts start from, and the base pass's logits at END."""
        needed = sites_read([work.edits for work in todo])
        needed.setdefault(base, set()).update(site for part in parts for site in part.reads())
        cached_from = min((part.first for part in parts if part.start > 0), default=None)
        recordings = {
            which: self.recording(bucket, which, sites, cached_from if which == base else None)
            for which, sites in needed.items()
        }
        recorded = {
            (which, site.hook): recordings[which].activations[site] for which in needed for site in needed[which]
        }
        return BasePass(bucket, base, recorded, recordings[base].keys_values), recordings[base].end_logits

    def run_batch(
        self, batch: Sequence[Work], part: Part | None, base: BasePass, capture: Sequence[Site] = ()
    ) -> tuple[Float[Tensor, "slot row token"], dict[Site, Tensor]]:
        """Run one slot per work item, as a part of a pass or as a whole one (None), and capture activations.

        Raises a `LabError` if the batch does not fit the device's memory.
        """
        captured: dict[Site, Tensor] = {}
        hooks = edit_hooks([work.edits for work in batch], base.bucket, base.recorded)
        for site in capture:
            hooks.append(self._capturing(site, len(batch), captured))
        try:
            if part is not None:
                return self.forward.part(base, part, hooks, len(batch), pair_only=self.pair_only), captured
            logits = self.forward.whole(base.bucket, base.which, hooks, len(batch))
            return self.selected(logits, base.bucket), captured
        except torch.OutOfMemoryError as error:
            raise LabError(
                f"engine.memory_gb: got {self._memory_gb}, but a batch of {len(batch) * len(base.bucket)} "
                "prompts does not fit the device's memory; set a smaller bound"
            ) from error

    def unedited(self, bucket: Bucket, which: Pass, indices: list[int], capture: Sequence[Site]) -> BatchResult:
        """Run whole unedited passes, one per index, and capture activations."""
        works = [whole_work(index, ()) for index in indices]
        logits, captured = self.run_batch(works, None, BasePass(bucket, which, {}, {}), capture)
        return BatchResult(bucket, indices, logits, {}, captured)

    def selected(self, logits: Float[Tensor, "slot row vocab"], bucket: Bucket) -> Float[Tensor, "slot row token"]:
        """Return the logits that are read: all, or those of answer and distractor."""
        return bucket.targets.read(logits) if self.pair_only else logits

    def references(self, bucket: Bucket, base_logits: Float[Tensor, "row vocab"]) -> dict[str, Tensor]:
        """Return the log-probabilities that KLs are measured from, given the base pass's logits: see `BatchResult`."""
        if self.pair_only:
            return {}
        logits = {"kl": base_logits}
        if "kl_clean" in self.extra:
            logits["kl_clean"] = self.recording(bucket, "clean", set()).end_logits
        return {name: values.log_softmax(dim=-1) for name, values in logits.items()}

    def recorded_stream(
        self, buckets: Iterator[Bucket], which: Pass, sites: Sequence[Site]
    ) -> Iterator[tuple[Sequence[int], dict[Site, Tensor]]]:
        """Yield per bucket the prompts' indices and recorded activations `[row, pos, width]` in float32."""
        wholes = {site: site.whole for site in sites}
        for bucket in buckets:
            activations = self.recording(bucket, which, set(wholes.values())).activations
            held = {site: at_site(activations[whole], site, self._longest) for site, whole in wholes.items()}
            yield bucket.rows, {site: activation.float() for site, activation in held.items()}

    def _capturing(self, site: Site, n_slots: int, captured: dict[Site, Tensor]) -> Hook:
        """Return a hook that stores the activation of a site as `[slot, row, pos, width]`."""

        def store(activation: Tensor, hook: object) -> None:
            of_site = at_site(by_position(activation, site), site, self._longest)
            captured[site] = of_site.unflatten(0, (n_slots, -1)).clone()

        return site.hook, store


def whole_work(index: int, edit_set: EditSet) -> Work:
    """Return the work of a whole edit set at all positions; without edits, no layer has to be run again."""
    first = min((edit.site.layer for edit in edit_set), default=ALL_LAYERS)
    return Work(index, edit_set, first, start=0)


def sites_read(edit_sets: Sequence[EditSet]) -> dict[Pass, set[Site]]:
    """Return the whole sites (without head and position) whose activations edits take from each pass."""
    sites: dict[Pass, set[Site]] = {}
    for edit in (edit for edit_set in edit_sets for edit in edit_set):
        if isinstance(edit.value, FromPass):
            sites.setdefault(edit.value.which, set()).add(edit.site.whole)
    return sites


def at_site(whole: Tensor, site: Site, longest: int) -> Float[Tensor, "row pos width"]:
    """Return a site's activation, given that of its whole component, `[row, pos, …]`.

    Patterns get as many keys as the longest prompt has.
    """
    if site.component == "pattern":
        whole = functional.pad(whole, (0, longest - whole.shape[-1]))
    return whole[:, :, site.head] if site.head is not None else whole.flatten(2)
