"""The engine: baselines, exact batched execution of edits, and what activations hold while they act.

Every result equals a plain full forward pass with the edits applied by hand (see `tests/engine/`). Prompts of different
length are never padded into one batch. What a change cannot reach is not run again: see `forward.Part`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn
from weakref import ref

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from ioi_lab.edits import COMPONENTS, OTHER_RUN, Component, Edit, EditSet, FromRun, ModelShape, Run, Site
from ioi_lab.engine.buckets import Bucket
from ioi_lab.engine.forward import BaseRun, Forward, Part, Recording
from ioi_lab.engine.gradients import INPUT, first_order, gradients, sites_of
from ioi_lab.engine.kept import Kept
from ioi_lab.engine.memory import Footprint, MemoryGb, bound_in_bytes, in_gb, keep_freed_memory
from ioi_lab.engine.pooling import ReadoutKind, Work, part_of, pooled, works
from ioi_lab.engine.together import Question, current_seat
from ioi_lab.engine.writing import Hook, by_position, edit_hooks
from ioi_lab.errors import LabError, folded
from ioi_lab.metrics import Array, Readout
from ioi_lab.models import LabModel
from ioi_lab.tasks.prompts import PromptPairs

log = logging.getLogger(__name__)

_AGREEMENT: Final = 1e-4
"""How far, in logits, a part of a pass may be from the whole one in float32."""

_ROUNDING: Final = 4
"""How many rounding errors of the largest logit it may be off in low precision."""

_FAINT: Final = 0.01
"""An edit whose effect is below this share of what counts as agreement has none."""

_SHARE_KEPT: Final = 0.25
"""Of the memory bound, what recorded activations may take between runs, so that the next ones need no passes."""

_MOST_RELATIVES: Final = 8
"""So many engines on one model are kept for those who ask for the same prompts again."""


@dataclass(frozen=True)
class _Result:
    """What one batch gave: logits `[slot, row, token]` of the edit sets `indices` over a bucket."""

    bucket: Bucket
    indices: list[int]
    logits: Tensor
    base_log_probs: Tensor | None
    """Over the whole vocabulary, if that is read."""

    captured: dict[Site, Tensor]


class Engine:
    """Evaluates edits on one model and one list of prompt pairs.

    `memory_gb` bounds what the engine may use beyond the model's weights. `readout="logit_diff"` unembeds the answer
    and the distractor alone: faster for edits at END, and without probabilities and KL.
    """

    def __init__(
        self, model: LabModel, prompts: PromptPairs, memory_gb: MemoryGb = "auto", readout: ReadoutKind = "full"
    ) -> None:
        if prompts.longest > model.shape.n_ctx:
            raise LabError(
                f"task: a prompt has {prompts.longest} tokens, but {model.shape.name} reads {model.shape.n_ctx}"
            )
        self.prompts = prompts
        self.shape: ModelShape = model.shape
        self.pair_only = readout == "logit_diff"
        self.model = model
        self.memory_gb = memory_gb
        self._kind: ReadoutKind = readout
        self._footprint = Footprint.of(model)
        self._forward = Forward(model)
        if model.device.type == "cpu":
            keep_freed_memory()
        self._bound = bound_in_bytes(memory_gb, model.device)
        self._baselines: dict[Run, Readout] = {}
        self._kept = Kept(_SHARE_KEPT * self._bound)
        self._relatives: dict[PromptPairs, Engine] = {}
        self._first = ref(self)  # whose relative this is; weak, so that models are freed with the last engine on them

    def on(self, prompts: PromptPairs) -> Engine:
        """The same model and settings on other prompts; the same engine for prompts that are asked for again."""
        first = self._first() or self
        engine = first._relatives.pop(prompts, None)
        if engine is None:
            engine = Engine(self.model, prompts, self.memory_gb, self._kind)
            engine._kept, engine._first = self._kept, ref(first)
        first._relatives[prompts] = engine  # the latest last
        if len(first._relatives) > _MOST_RELATIVES:
            del first._relatives[next(iter(first._relatives))]
        return engine

    def baseline(self, run: Run) -> Readout:
        """The unedited run, as a readout with one edit set: `[1, prompt]`; kept as long as the engine."""
        if run not in self._baselines:
            self._baselines[run] = self.run([()], base=run, progress=False)
        return self._baselines[run]

    @torch.no_grad()
    def run(self, edit_sets: Sequence[EditSet], base: Run, *, progress: bool = True) -> Readout:
        """Evaluate each edit set in its own pass over the `base` run of every prompt.

        Returns the readout `[edit_set, prompt]`, where KL is from the unedited base run. Raises a `LabError` for an
        edit that the model or the prompts cannot take, for no edits, for activations that are not finite, and for a
        memory bound below what one prompt needs. Among measurements `together`, it waits for theirs.
        """
        self._check(edit_sets)
        if (seat := current_seat()) is not None:
            return seat.ask(Question(self, edit_sets, base))
        readout = Readout.empty(len(edit_sets), len(self.prompts), probabilities=not self.pair_only)
        total = len(edit_sets) * len(self.prompts)
        with tqdm(total=total, desc="edits × prompts", disable=None if progress else True, leave=False) as bar:
            for result in self._execute(edit_sets, base):
                _read(result, readout)
                bar.update(len(result.indices) * len(result.bucket))
        if not readout.is_finite():
            self._tell_first_bad_site(edit_sets, base, readout)
        return readout

    @torch.no_grad()
    def capture(
        self, edit_sets: Sequence[EditSet], base: Run, sites: Sequence[Site]
    ) -> dict[Site, Float[Tensor, "edit_set prompt pos width"]]:
        """What the sites hold, at every position, in the `base` run under each edit set.

        `width` is `Site.width`; prompts shorter than the longest are filled with zeros. The sites' own positions are
        not looked at.
        """
        self._check(edit_sets)
        self._check_sites(sites)
        longest = self.prompts.longest
        captured = {
            site: torch.zeros(
                len(edit_sets), len(self.prompts), longest, site.width(self.shape, longest), device=self.model.device
            )
            for site in sites
        }
        for result in self._execute(edit_sets, base, sites):
            where = torch.tensor(result.indices, device=self.model.device)[:, None], result.bucket.index[None]
            for site, activation in result.captured.items():
                n_positions, width = activation.shape[2:]
                captured[site][(*where, slice(n_positions), slice(width))] = activation.to(captured[site].dtype)
        return captured

    def record(self, run: Run, sites: Sequence[Site]) -> dict[Site, Float[Tensor, "prompt pos width"]]:
        """What the sites hold, at every position, in an unedited run."""
        return {site: activation[0] for site, activation in self.capture([()], run, sites).items()}

    @torch.no_grad()
    def stream(
        self, run: Run, sites: Sequence[Site], edits: EditSet = ()
    ) -> Iterator[tuple[Sequence[int], dict[Site, Float[Tensor, "row pos width"]]]]:
        """What the sites hold under one edit set, bucket by bucket: the prompts' indices, and activations in float32.

        As `capture`, for as many prompts at a time as fit the memory bound; all prompts of a bucket have one length.
        """
        self._check([edits])
        self._check_sites(sites)
        with tqdm(total=len(self.prompts), desc="prompts read", disable=None, leave=False) as bar:
            for result in self._execute([edits], run, sites):
                yield result.bucket.rows, {site: held[0].float() for site, held in result.captured.items()}
                bar.update(len(result.bucket))

    def stream_kept(
        self, run: Run, sites: Sequence[Site]
    ) -> Iterator[tuple[Sequence[int], dict[Site, Float[Tensor, "row pos width"]]]]:
        """`stream` of an unedited run, which keeps what it reads for whoever asks next, where memory allows."""
        self._check_sites(sites)
        whole = {site.whole for site in sites}
        room = self._kept.most_bytes
        for length, rows in self.prompts.buckets().items():
            room -= len(rows) * self._footprint.recorded_row(whole, 0, length)
        if room < 0:
            yield from self.stream(run, sites)
            return
        for bucket in self._buckets([()], sites):
            held = self._recording(bucket, run, whole).activations
            yield bucket.rows, {site: _of_site(held[site.whole], site, self.prompts.longest).float() for site in sites}

    def estimate(self, edit_sets: Sequence[EditSet], base: Run, *, ig_steps: int = 0) -> Readout:
        """Estimate, to first order, the logit difference `[edit_set, prompt]` under each edit set; not exact.

        Two passes forward and one back for all edit sets together (attribution patching: Nanda 2023; Syed et al. 2023,
        arXiv 2310.10348), or `ig_steps` of each with integrated gradients.
        """
        self._check(edit_sets)
        if any(edit.site.component == "resid_mid" for edit_set in edit_sets for edit in edit_set):
            self._parts_are_exact({"resid_mid"})  # raises where there is no such component
        readout = Readout(self.baseline(base).logit_diff.repeat(len(edit_sets), axis=0))
        sites = sites_of(edit_sets)
        for length, rows in self.prompts.buckets().items():
            row_bytes = self._footprint.backward_row(length) + self._footprint.recorded_row(2 * sites, 0, length)
            size = int(self._bound / row_bytes)
            if size == 0:
                raise LabError(
                    f"engine.memory_gb: got {self.memory_gb}, but the gradients of one prompt of {length} tokens need "
                    f"{in_gb(row_bytes)} ({self.shape.name}); raise the bound"
                )
            for start in range(0, len(rows), size):
                bucket = Bucket(self.prompts, rows[start : start + size], self.model.device)
                recorded = {
                    (run, site.hook): activation
                    for run in OTHER_RUN
                    for site, activation in self._recording(bucket, run, {*sites, INPUT}).activations.items()
                }
                slopes = gradients(self._forward, bucket, base, sites, recorded, ig_steps)
                for index, edit_set in enumerate(edit_sets):
                    change = first_order(edit_set, base, bucket, recorded, slopes)
                    readout.logit_diff[index, bucket.rows] += _array(change)
        if not readout.is_finite():
            raise LabError(f"model: gradients that are not finite in the {base} run of {self.shape.name}")
        return readout

    def _execute(self, edit_sets: Sequence[EditSet], base: Run, capture: Sequence[Site] = ()) -> Iterator[_Result]:
        """Run everything, batch by batch. Results come in any order, each edit set once a bucket."""
        components = {edit.site.component for edit_set in edit_sets for edit in edit_set}
        in_parts = self._parts_are_exact(components)
        for bucket in self._buckets(edit_sets, capture):
            if capture and not any(edit_sets):  # there is no base run beside it
                unedited = [_whole_work(index, ()) for index in range(len(edit_sets))]
                logits, captured = self._run_batch(unedited, None, BaseRun(bucket, base, {}, {}), capture)
                yield _Result(bucket, [work.index for work in unedited], logits, None, captured)
                continue
            if in_parts and not capture:
                todo = works(bucket, edit_sets, base, self.shape)
            else:
                todo = [_whole_work(index, edit_set) for index, edit_set in enumerate(edit_sets)]
            untouched = sorted(set(range(len(edit_sets))) - {work.index for work in todo})
            batches = list(pooled(todo, bucket, self.model.device.type, self._most_slots(bucket, edit_sets, capture)))
            parts = [self._part(batch, capture) if in_parts else None for batch in batches]
            base_run, base_logits = self._record(bucket, todo, base, [part for part in parts if part])
            base_log_probs = None if self.pair_only else base_logits.log_softmax(dim=-1)
            if untouched:  # they provably change nothing
                logits = self._selected(base_logits[None], bucket).expand(len(untouched), -1, -1)
                yield _Result(bucket, untouched, logits, base_log_probs, {})
            for batch, part in zip(batches, parts, strict=True):
                logits, captured = self._run_batch(batch, part, base_run, capture)
                yield _Result(bucket, [work.index for work in batch], logits, base_log_probs, captured)

    def _run_batch(
        self, batch: Sequence[Work], part: Part | None, base: BaseRun, capture: Sequence[Site]
    ) -> tuple[Float[Tensor, "slot row token"], dict[Site, Tensor]]:
        captured: dict[Site, Tensor] = {}
        hooks = edit_hooks([work.edits for work in batch], base.bucket, base.recorded)
        for site in capture:
            hooks.append(_capturing(site, len(batch), self.prompts.longest, captured))
        try:
            if part is not None:
                return self._forward.part(base, part, hooks, len(batch), pair_only=self.pair_only), captured
            return self._selected(self._forward.whole(base.bucket, base.run, hooks, len(batch)), base.bucket), captured
        except torch.OutOfMemoryError as error:
            raise LabError(
                f"engine.memory_gb: got {self.memory_gb}, but a batch of {len(batch) * len(base.bucket)} prompts does "
                "not fit the device's memory; set a smaller bound"
            ) from error

    def _selected(self, logits: Float[Tensor, "slot row vocab"], bucket: Bucket) -> Float[Tensor, "slot row token"]:
        """The logits that are read: all, or those of answer and distractor."""
        return _pair(logits, bucket) if self.pair_only else logits

    def _part(self, batch: Sequence[Work], capture: Sequence[Site]) -> Part:
        """The part that a batch needs; where activations are captured, at every position and up to the last of them."""
        if not capture:
            return part_of(batch, self.shape)
        layers = [site.layer for site in capture]
        first = min([work.first for work in batch] + layers)
        return Part(first=first, last=max(layers))

    def _record(
        self, bucket: Bucket, todo: Sequence[Work], base: Run, parts: Sequence[Part]
    ) -> tuple[BaseRun, Float[Tensor, "row vocab"]]:
        """The activations that edits read and parts start from, and the base run's logits at END."""
        needed = _read_by([work.edits for work in todo])
        needed.setdefault(base, set()).update(site for part in parts for site in part.reads())
        cached_from = min((part.first for part in parts if part.start > 0), default=None)
        recordings = {
            run: self._recording(bucket, run, sites, cached_from if run == base else None)
            for run, sites in needed.items()
        }
        recorded = {(run, site.hook): recordings[run].activations[site] for run in needed for site in needed[run]}
        return BaseRun(bucket, base, recorded, recordings[base].keys_values), recordings[base].end_logits

    @torch.no_grad()
    def _recording(self, bucket: Bucket, run: Run, sites: set[Site], cached_from: int | None = None) -> Recording:
        """What an unedited run holds at some sites, and keys and values from a layer on: kept from before, or run."""
        kept = self._kept.find(bucket, run)
        if kept is None or not kept.has(sites, cached_from, self.shape.n_layers):
            kept = self._forward.record(bucket, run, sites, cached_from, kept)
        self._kept.keep(bucket, run, kept)
        return kept

    def _buckets(self, edit_sets: Sequence[EditSet], capture: Sequence[Site]) -> Iterator[Bucket]:
        """Prompts of one length, as many as fit the memory bound with one edit set."""
        bound = (1 - _SHARE_KEPT) * self._bound
        for length, rows in self.prompts.buckets().items():
            needed = self._held_row(edit_sets, length, capture)
            needed += self._footprint.batch_row(length, length, vocabulary=True)
            if needed > bound:
                raise LabError(
                    f"engine.memory_gb: got {self.memory_gb}, but one edit of one prompt of {length} tokens needs "
                    f"{in_gb(needed / (1 - _SHARE_KEPT))} ({self.shape.name}); raise the bound"
                )
            size = int(bound / needed)
            for start in range(0, len(rows), size):
                yield Bucket(self.prompts, rows[start : start + size], self.model.device)

    def _most_slots(
        self, bucket: Bucket, edit_sets: Sequence[EditSet], capture: Sequence[Site]
    ) -> Callable[[int], int]:
        """How many edit sets fit in a batch that runs the positions from `start` on, beside what is held."""
        free = (1 - _SHARE_KEPT) * self._bound - len(bucket) * self._held_row(edit_sets, bucket.length, capture)

        def most(start: int) -> int:
            row = self._footprint.batch_row(bucket.length - start, bucket.length, vocabulary=not self.pair_only)
            return max(1, int(free / (row * len(bucket))))

        return most

    def _held_row(self, edit_sets: Sequence[EditSet], length: int, capture: Sequence[Site]) -> float:
        """Bytes that are held a prompt through all batches: an upper bound of what edits read and parts start from."""
        sites = [site for sites in _read_by(edit_sets).values() for site in sites]
        for layer in {edit.site.layer for edit_set in edit_sets for edit in edit_set}:
            sites += [Site("resid_pre", layer), Site("z", layer), Site("mlp_out", layer)]
        captured = sum(site.width(self.shape, self.prompts.longest) for site in capture) * len(edit_sets) * length * 4
        return self._footprint.recorded_row(sites, self.shape.n_layers, length) + captured

    def _check_sites(self, sites: Sequence[Site]) -> None:
        for site in sites:
            site.check(self.shape, self.prompts)
            if site.hook not in self.model.bridge.hook_dict:
                raise LabError(f"component: got {site.component!r}, which {self.shape.name} does not have")

    def _check(self, edit_sets: Sequence[EditSet]) -> None:
        if not edit_sets:
            raise LabError("edits: the list is empty; nothing to run")
        for edit in (edit for edit_set in edit_sets for edit in edit_set):
            edit.check(self.shape, self.prompts)
            self._check_sites([edit.site])

    def _parts_are_exact(self, components: set[Component]) -> bool:
        """Whether parts of passes give this model's own logits; each component is tried once a model."""
        known = self.model.exact_parts
        tried: set[Component] = {"resid_pre", *components}
        for component in sorted(tried, key=COMPONENTS.index):
            key = component, self.pair_only
            if key not in known:
                known[key] = self._part_is_exact(component)
                if not known[key]:
                    log.warning(
                        "engine: whole passes for %s, as parts are not proved on %s", component, self.shape.name
                    )
        return all(known[component, self.pair_only] for component in tried)

    def _part_is_exact(self, component: Component) -> bool:
        """Try strong edits early, amid and late in the model, on one prompt, in whole passes and in parts of them.

        Raises a `LabError` if the edits change nothing: then TransformerLens shows the component, but the model does
        not compute with what is written there.
        """
        bucket = Bucket(self.prompts, [0], self.model.device)
        if component == "resid_mid":
            self._check_resid_mid(bucket)
        last, middle, end = self.shape.n_layers - 1, bucket.length // 2, bucket.length - 1
        unedited = self._selected(self._recording(bucket, "clean", set()).end_logits[None], bucket)
        if not unedited.isfinite().all():
            return False  # nothing can be proved; the run itself will tell
        strongest = 0.0
        for layer, position in ((0, middle), (last // 2, middle), (last, end)):
            edit_set = [self._strong_edit(bucket, Site(component, layer, None, position))]
            expected = self._selected(self._forward.whole(bucket, "clean", edit_hooks([edit_set], bucket, {})), bucket)
            rounding = _ROUNDING * self.model.rounding * expected.abs().max()
            tolerance = max(_AGREEMENT, float(rounding))
            todo = works(bucket, [edit_set], "clean", self.shape)
            got = unedited  # if there is nothing to do
            try:
                if todo:
                    part = part_of(todo, self.shape)
                    base, _ = self._record(bucket, todo, "clean", [part])
                    got, _ = self._run_batch(todo * 2, part, base, ())
            except LabError:
                raise
            except Exception as error:  # an architecture that resists in whichever way
                log.warning("engine: %s at layer %d: %s", component, layer, folded(error))
                return False
            if not (got - expected).abs().max() <= tolerance:
                return False
            strongest = max(strongest, float((expected - unedited).abs().max()) / tolerance)
        if strongest < _FAINT:
            raise LabError(
                f"component: got {component!r}, but writing there changes nothing in {self.shape.name}: "
                "TransformerLens only shows it"
            )
        return strongest > 1  # else agreement proves nothing

    def _strong_edit(self, bucket: Bucket, site: Site) -> Edit:
        """An edit that no norm undoes: noise four times as large as what the site holds, or no attention at all."""
        if site.component == "pattern":
            return Edit(site, "zero")
        held = self._recording(bucket, "clean", {site.whole}).activations[site.whole]
        noise = torch.randn(site.width(self.shape, bucket.length), generator=torch.Generator().manual_seed(0))
        return Edit(site, "add", 4 * float(held.float().std()) * noise)

    def _check_resid_mid(self, bucket: Bucket) -> None:
        """Raise a `LabError` unless the stream before the MLP is the block's input plus what attention adds."""
        sites = [Site(component, 0) for component in ("resid_pre", "attn_out", "resid_mid")]
        activations = self._forward.record(bucket, "clean", set(sites)).activations
        before, added, middle = (activations[site] for site in sites)
        if not torch.allclose(before + added, middle, rtol=1e-2 if middle.dtype != torch.float32 else 1e-4, atol=1e-4):
            raise LabError(f"component: got 'resid_mid', which cannot be told apart in the blocks of {self.shape.name}")

    def _tell_first_bad_site(self, edit_sets: Sequence[EditSet], base: Run, readout: Readout) -> NoReturn:
        """Run the first edit set and prompt with a bad readout once more, and raise a `LabError` that says where."""
        index, row = np.argwhere(readout.not_finite())[0].tolist()
        bucket = Bucket(self.prompts, [row], self.model.device)
        edit_set = edit_sets[index]
        base_run, _ = self._record(bucket, [_whole_work(0, edit_set)], base, [])
        names = self.model.bridge.hook_dict
        sites = [Site(component, layer) for layer in range(self.shape.n_layers) for component in COMPONENTS]
        bad: list[Site] = []

        def watch(site: Site) -> Hook:
            def look(activation: Tensor, hook: object) -> None:
                if not activation.isfinite().all():
                    bad.append(site)

            return site.hook, look

        hooks = edit_hooks([edit_set], bucket, base_run.recorded)
        self._forward.whole(bucket, base, [*hooks, *(watch(site) for site in sites if site.hook in names)])
        where = f"first {bad[0].component} of layer {bad[0].layer}" if bad else "the logits"
        run = f"the {base} run" if not edit_set else f"an edited {base} run"
        raise LabError(
            f"model: activations that are not finite in {run} of {self.shape.name}: {where}, prompt "
            f"{self.prompts[row].clean!r}"
        )


def _whole_work(index: int, edit_set: EditSet) -> Work:
    """All of an edit set, at all positions; without edits, from whichever layer on."""
    first = min((edit.site.layer for edit in edit_set), default=sys.maxsize)
    return Work(index, edit_set, first, start=0)


def _read_by(edit_sets: Sequence[EditSet]) -> dict[Run, set[Site]]:
    """The sites whose activations edits take from a run: whole ones, without head and position."""
    sites: dict[Run, set[Site]] = {}
    for edit in (edit for edit_set in edit_sets for edit in edit_set):
        if isinstance(edit.value, FromRun):
            sites.setdefault(edit.value.run, set()).add(edit.site.whole)
    return sites


def _capturing(site: Site, n_slots: int, longest: int, captured: dict[Site, Tensor]) -> Hook:
    """Keep what a site holds as `[slot, row, pos, width]`; patterns get as many keys as the longest prompt has."""

    def keep(activation: Tensor, hook: object) -> None:
        captured[site] = _of_site(by_position(activation, site), site, longest).unflatten(0, (n_slots, -1)).clone()

    return site.hook, keep


def _of_site(whole: Tensor, site: Site, longest: int) -> Float[Tensor, "row pos width"]:
    """What a site holds, of what all heads of its component hold, `[row, pos, …]`."""
    if site.component == "pattern":
        whole = functional.pad(whole, (0, longest - whole.shape[-1]))
    return whole[:, :, site.head] if site.head is not None else whole.flatten(2)


def _read(result: _Result, readout: Readout) -> None:
    """Write what the metrics need of a batch's logits into `readout`."""
    where = np.ix_(result.indices, result.bucket.rows)
    logits = result.logits
    if (base := result.base_log_probs) is not None:
        log_probs = logits.log_softmax(dim=-1)
        p_answer, p_distractor = _pair(log_probs, result.bucket).exp().unbind(-1)
        kl = (base.exp() * (base - log_probs)).sum(dim=-1).clamp_min(0)
        readout.write(where, p_answer=_array(p_answer), p_distractor=_array(p_distractor), kl=_array(kl))
        logits = _pair(logits, result.bucket)
    answer, distractor = logits.unbind(-1)
    readout.write(
        where,
        answer_logit=_array(answer),
        distractor_logit=_array(distractor),
        logit_diff=_array(answer - distractor),
    )


def _pair(values: Float[Tensor, "slot row vocab"], bucket: Bucket) -> Float[Tensor, "slot row 2"]:
    """Of values over the vocabulary, those of each row's answer and distractor."""
    pair = torch.stack([bucket.answer, bucket.distractor], dim=1)
    return values.gather(-1, pair.expand(len(values), -1, -1))


def _array(values: Tensor) -> Array:
    return values.double().cpu().numpy()
