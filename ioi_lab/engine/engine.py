"""The engine: baselines, exact batched execution of edits, and activations under edits.

Every result equals a plain full forward pass with the edits applied by hand (see `tests/engine/`). Prompts of different
length are never padded into one batch. What a change cannot reach is not run again: see `forward.Part`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from copy import copy
from functools import cached_property
from typing import Final
from weakref import ref

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_lab.engine.batching import ReadoutKind, Shortcut, Work, batches, part_of, part_to_capture, works
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.budget import MemoryBudget
from ioi_lab.engine.edits import EditSet, Pass, Site, check_pass
from ioi_lab.engine.exactness import proofs_of
from ioi_lab.engine.forward import Part
from ioi_lab.engine.gradients import estimated_changes, sites_of
from ioi_lab.engine.memory import MemoryGb, keep_freed_memory
from ioi_lab.engine.passes import BatchResult, Passes, whole_work
from ioi_lab.engine.prompt_checks import check_prompts
from ioi_lab.engine.readouts import raise_first_bad_site, read_into, to_array
from ioi_lab.engine.recordings import RecordingCache
from ioi_lab.errors import LabError
from ioi_lab.models.loading import LabModel
from ioi_lab.models.shape import ModelShape
from ioi_lab.stats.bootstrap import Bootstrap, Over
from ioi_lab.stats.metrics import Extra, Readout
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.terminal import progress_bar

_MAX_SIBLINGS: Final = 8
"""How many engines on other prompts are kept, for callers that ask for the same prompts again."""

Executor = Callable[["Engine", Sequence[EditSet], Pass, bool], Readout]
"""Evaluates edit sets over a pass of an engine's prompts; the last argument says whether to show progress."""


def run_now(engine: Engine, edit_sets: Sequence[EditSet], base: Pass, progress: bool) -> Readout:
    """Evaluate the edit sets at once: the executor of an engine that has no other."""
    return engine.evaluate(edit_sets, base, progress=progress)


class Engine:
    """Evaluates edits on one model and one list of prompt pairs.

    Args:
        model: A loaded model.
        prompts: The prompt pairs.
        memory_gb: The bound on what the engine may use beyond the model's weights and the results that it returns, in
            gigabytes, or `auto`.
        readout: `full`, or `logit_diff` to unembed the answer and the distractor alone: faster for edits at END, and
            without probabilities and KL.
        seed: The seed of the bootstrap over the prompts.
        executor: The function that `run` hands its edit sets to.
        over: What the intervals are taken over: `prompts`, or `sentences`, the groups of the prompts.

    Raises:
        LabError: A prompt is longer than the model can read, or has a token that the model does not have.

    """

    def __init__(
        self,
        model: LabModel,
        prompts: PromptPairs,
        memory_gb: MemoryGb = "auto",
        readout: ReadoutKind = "full",
        seed: int = 0,
        executor: Executor = run_now,
        over: Over = "prompts",
    ) -> None:
        check_prompts(model, prompts)
        self.prompts = prompts
        self.shape: ModelShape = model.shape
        self.model = model
        self.memory_gb = memory_gb
        self.seed = seed
        self.over: Over = over
        self._kind: ReadoutKind = readout
        self._executor = executor
        if model.device.type == "cpu":
            keep_freed_memory()
        self.budget = MemoryBudget(model, prompts, memory_gb)
        self._baselines: dict[Pass, Readout] = {}
        self._use_recordings(RecordingCache(self.budget.for_recordings))
        self._siblings: dict[PromptPairs, Engine] = {}
        self._first = ref(self)  # the engine that keeps the siblings; weak, so that models are freed with their engines

    def on(self, prompts: PromptPairs) -> Engine:
        """Return an engine with the same model and settings on other prompts; the same one for the same prompts."""
        first = self._first() or self
        engine = first._siblings.pop(prompts, None)
        if engine is None:
            engine = Engine(self.model, prompts, self.memory_gb, self._kind, self.seed, over=self.over)
            engine._use_recordings(self._recordings)
            engine._first = ref(first)
        first._siblings[prompts] = engine  # the latest last
        if len(first._siblings) > _MAX_SIBLINGS:
            del first._siblings[next(iter(first._siblings))]
        return engine if engine._executor == self._executor else engine.with_executor(self._executor)

    def with_executor(self, executor: Executor) -> Engine:
        """Return this engine, sharing baselines, recordings and resamples, with another executor."""
        self.bootstrap  # noqa: B018  # cached before the copy, so that both share the resamples
        engine = copy(self)
        engine._executor = executor
        return engine

    def also_reading(self, *extra: Extra) -> Engine:
        """Return this engine, sharing recordings, whose readouts have more values."""
        engine = copy(self)
        engine.passes, engine._baselines = self.passes.also_reading(extra), {}
        return engine

    @property
    def batch_key(self) -> Hashable:
        """Equal for engines whose edit sets may share a pass."""
        return id(self.model), self.prompts, self.memory_gb, self._kind, self.passes.extra

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """Resamples of the engine's prompts or sentences, by which all its intervals are taken."""
        groups = self.prompts.sentences() if self.over == "sentences" else None
        return Bootstrap(len(self.prompts), self.seed, groups=groups)

    def baseline(self, which: Pass) -> Readout:
        """Return the readout `[1, prompt]` of the unedited clean or corrupted pass; it is measured once."""
        if which not in self._baselines:  # measurements that share passes ask for it at the same time
            self._baselines.setdefault(which, self.run([()], base=which, progress=False))
        return self._baselines[which]

    def run(self, edit_sets: Sequence[EditSet], base: Pass, *, progress: bool = True) -> Readout:
        """Evaluate each edit set in a pass of its own over the `base` pass of every prompt.

        Returns:
            The readout `[edit_set, prompt]`, in which KL is measured from the unedited base pass.

        Raises:
            LabError: An edit is not possible on the model or the prompts; there are no edit sets; activations are not
                finite; or the memory bound is below what one prompt needs.

        """
        check_pass(base, "base")
        self._check(edit_sets)
        return self._executor(self, edit_sets, base, progress)

    @torch.no_grad()
    def evaluate(self, edit_sets: Sequence[EditSet], base: Pass, *, progress: bool = True) -> Readout:
        """Evaluate edit sets that `run` has checked: what executors call."""
        size = len(edit_sets), len(self.prompts)
        readout = Readout.empty(*size, probabilities=not self.passes.pair_only, extra=self.passes.extra)
        with progress_bar(readout.logit_diff.size, "edits × prompts", is_shown=progress) as bar:
            for result in self._execute(edit_sets, base):
                read_into(readout, result)
                bar.update(len(result.indices) * len(result.bucket))
        if not readout.is_finite():
            raise_first_bad_site(self.passes, self.prompts, edit_sets, base, readout)
        return readout

    @torch.no_grad()
    def capture(
        self, edit_sets: Sequence[EditSet], base: Pass, sites: Sequence[Site]
    ) -> dict[Site, Float[Tensor, "edit_set prompt pos width"]]:
        """Return the activations of sites, at every position, in the `base` pass under each edit set.

        `width` is `Site.width`; prompts shorter than the longest are filled with zeros. The sites' own positions are
        ignored.
        """
        self._check(edit_sets)
        self._check_sites(sites)
        longest, device = self.prompts.longest, self.model.device
        size = len(edit_sets), len(self.prompts), longest
        captured = {site: torch.zeros(*size, site.width(self.shape, longest), device=device) for site in sites}
        for result in self._execute(edit_sets, base, sites):
            where = torch.tensor(result.indices, device=device)[:, None], result.bucket.index[None]
            for site, activation in result.captured.items():
                n_positions, width = activation.shape[2:]
                captured[site][(*where, slice(n_positions), slice(width))] = activation.to(captured[site].dtype)
        return captured

    def record(self, which: Pass, sites: Sequence[Site]) -> dict[Site, Float[Tensor, "prompt pos width"]]:
        """Return the activations of sites, at every position, in an unedited pass."""
        return {site: activation[0] for site, activation in self.capture([()], which, sites).items()}

    @torch.no_grad()
    def stream(
        self, which: Pass, sites: Sequence[Site], edits: EditSet = ()
    ) -> Iterator[tuple[Sequence[int], dict[Site, Float[Tensor, "row pos width"]]]]:
        """Yield the activations of sites under one edit set, bucket by bucket.

        Like `capture`, for as many prompts at a time as fit the memory bound: the prompts' indices, and activations in
        float32. All prompts of a bucket have one length.
        """
        self._check([edits])
        self._check_sites(sites)
        with progress_bar(len(self.prompts), "prompts read", unit="prompt") as bar:
            for result in self._execute([edits], which, sites):
                activations = {site: activation[0].float() for site, activation in result.captured.items()}
                yield result.bucket.rows, activations
                bar.update(len(result.bucket))

    def stream_recorded(
        self, which: Pass, sites: Sequence[Site]
    ) -> Iterator[tuple[Sequence[int], dict[Site, Float[Tensor, "row pos width"]]]]:
        """`stream` of an unedited pass, which keeps the activations for later callers if memory allows."""
        self._check_sites(sites)
        if not self.budget.recordings_fit({site.whole for site in sites}, self._recordings.max_bytes):
            return self.stream(which, sites)
        return self.passes.recorded_stream(self.budget.buckets([()], sites), which, sites)

    def estimate(self, edit_sets: Sequence[EditSet], base: Pass, *, ig_steps: int = 0) -> Readout:
        """Estimate, to first order, the logit difference `[edit_set, prompt]` under each edit set; not exact.

        Two passes forward and one back for all edit sets together (attribution patching: Nanda 2023; Syed et al. 2023,
        arXiv 2310.10348), or `ig_steps` of each with integrated gradients.

        Raises:
            LabError: A gradient is not finite, or the memory bound is below what one prompt needs.

        """
        self._check(edit_sets)
        self._shortcut(edit_sets)  # raises for what the model does not read
        readout = Readout(self.baseline(base).logit_diff.repeat(len(edit_sets), axis=0))
        sites = sites_of(edit_sets)
        with progress_bar(len(self.prompts), "prompts, forward and back", unit="prompt") as bar:
            for bucket in self.budget.gradient_buckets(sites):
                changes = estimated_changes(self.passes, bucket, edit_sets, base, sites, ig_steps)
                readout.logit_diff[:, bucket.rows] += to_array(changes)
                bar.update(len(bucket))
        if not readout.is_finite():
            raise LabError(f"model: gradients that are not finite in the {base} pass of {self.shape.name}")
        return readout

    def _execute(self, edit_sets: Sequence[EditSet], base: Pass, capture: Sequence[Site] = ()) -> Iterator[BatchResult]:
        """Run everything, batch by batch. Results come in any order, each edit set once per bucket."""
        passes, indices = self.passes, range(len(edit_sets))
        shortcut = self._shortcut(edit_sets, capture)
        for bucket in self.budget.buckets(edit_sets, capture):
            if capture and not any(edit_sets):  # no base pass is needed
                yield passes.unedited(bucket, base, list(indices), capture)
                continue
            if shortcut and not capture:
                todo = works(bucket, edit_sets, base, self.shape, shortcut)
            else:
                todo = [whole_work(index, edit_set) for index, edit_set in enumerate(edit_sets)]
            untouched = sorted(set(indices) - {work.index for work in todo})
            max_slots = self.budget.max_slots(bucket, edit_sets, capture, vocabulary=not passes.pair_only)
            batched = list(batches(todo, bucket, self.model.device.type, max_slots))
            parts = [self._part(batch, shortcut, capture) for batch in batched]
            base_pass, base_logits = passes.base_pass(bucket, todo, base, [part for part in parts if part])
            references = passes.references(bucket, base_logits)
            if untouched:  # they provably change nothing
                logits = passes.selected(base_logits[None], bucket).expand(len(untouched), -1, -1)
                yield BatchResult(bucket, untouched, logits, references, {})
            for batch, part in zip(batched, parts, strict=True):
                logits, captured = passes.run_batch(batch, part, base_pass, capture)
                yield BatchResult(bucket, [work.index for work in batch], logits, references, captured)

    def _part(self, batch: Sequence[Work], shortcut: Shortcut | None, capture: Sequence[Site]) -> Part | None:
        """Return the part that a batch needs; None for the whole pass."""
        if shortcut is None:
            return None
        return part_to_capture(batch, capture) if capture else part_of(batch, self.shape, shortcut)

    def _shortcut(self, edit_sets: Sequence[EditSet], capture: Sequence[Site] = ()) -> Shortcut | None:
        """Return the largest shortcut that is proved for the edits and captures; None for whole passes."""
        components = {edit.site.component for edit_set in edit_sets for edit in edit_set}
        proofs, one_prompt = proofs_of(self.model), Bucket(self.prompts, [0], self.model.device)
        shortcut = proofs.shortcut(self.passes, one_prompt, components)
        captured = {site.component for site in capture} if any(edit_sets) else set()
        return shortcut if shortcut and proofs.hold_for_captures(self.passes, one_prompt, captured) else None

    def stream_is_sum(self) -> bool:
        """Return whether each block adds what its attention and its MLP put out to the stream, and does no more."""
        return proofs_of(self.model).stream_is_sum(self.passes, Bucket(self.prompts, [0], self.model.device))

    def _use_recordings(self, recordings: RecordingCache) -> None:
        self._recordings = recordings
        self.passes = Passes(
            self.model, self.memory_gb, recordings, self.prompts.longest, pair_only=self._kind == "logit_diff"
        )

    def _check_sites(self, sites: Sequence[Site]) -> None:
        for site in sites:
            site.check(self.shape, self.prompts)

    def _check(self, edit_sets: Sequence[EditSet]) -> None:
        if not edit_sets:
            raise LabError("edits: the list is empty; nothing to run")
        for edit in (edit for edit_set in edit_sets for edit in edit_set):
            edit.check(self.shape, self.prompts)
