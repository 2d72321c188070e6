"""The one forward-pass machine: it evaluates any list of edits on any model, exactly and in batches.

Every result equals a plain full forward pass with the edits applied by hand (see `tests/test_engine.py`). Prompts of
different length are never padded into one batch. Only the END position is unembedded. Blocks before the first edited
layer are not run again: their result is the base run's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from ioi_lab.edits import Edit, EditSet, FromRun, Run, Site
from ioi_lab.errors import LabError
from ioi_lab.metrics import Readout
from ioi_lab.models import LabModel
from ioi_lab.tasks.prompts import PromptPairs

Hooks = list[tuple[str, Callable[..., Any]]]
Recorded = dict[tuple[Run, str], Tensor]
"""Activations of the unedited runs by run and hook name."""


@dataclass(frozen=True)
class Bucket:
    """Prompts of one length as tensors on the model's device; `rows` are their indices among all prompts."""

    rows: Int[Tensor, "row"]
    clean: Int[Tensor, "row pos"]
    corrupted: Int[Tensor, "row pos"]
    answer: Int[Tensor, "row"]
    distractor: Int[Tensor, "row"]

    def tokens(self, run: Run) -> Int[Tensor, "row pos"]:
        """The prompts of a run."""
        return self.clean if run == "clean" else self.corrupted


class Engine:
    """Evaluates edits on one model and one list of prompt pairs.

    `batch_size` bounds the number of prompts in a forward pass, over all edits that share it.
    """

    def __init__(self, model: LabModel, prompts: PromptPairs, batch_size: int) -> None:
        longest = max(len(pair) for pair in prompts)
        if longest > model.shape.n_ctx:
            raise LabError(f"task: a prompt has {longest} tokens, but {model.shape.name} reads {model.shape.n_ctx}")
        self._model = model
        self._prompts = prompts
        self._batch_size = batch_size
        self._buckets = [bucket for rows in prompts.buckets().values() for bucket in self._split(rows)]
        self._can_resume = self._resuming_is_exact()

    def baseline(self, run: Run) -> Readout:
        """The unedited run, as a readout with one edit set: `[1, prompt]`."""
        return self.run([()], base=run, progress=False)

    @torch.inference_mode()
    def run(self, edit_sets: Sequence[EditSet], base: Run, *, progress: bool = True) -> Readout:
        """Evaluate each edit set in its own pass over the `base` run of every prompt.

        Returns the readout `[edit_set, prompt]`, where KL is from the unedited base run. Raises a `LabError` for an
        edit that the model or the prompts cannot take, for no edits, for logits that are not finite, and for a batch
        that does not fit the device.
        """
        if not edit_sets:
            raise LabError("edits: the list is empty; nothing to run")
        for edit in (edit for edit_set in edit_sets for edit in edit_set):
            self._check(edit)
        readout = Readout.empty(len(edit_sets), len(self._prompts))
        total = len(edit_sets) * len(self._prompts)
        with tqdm(total=total, desc="edits × prompts", disable=None if progress else True, leave=False) as bar:
            try:
                for bucket in self._buckets:
                    self._run_bucket(bucket, edit_sets, base, readout, bar)
            except torch.OutOfMemoryError as error:
                raise LabError(
                    f"engine.batch_size: {self._batch_size} prompts do not fit the device's memory"
                ) from error
        if not readout.is_finite():
            what = "an edited" if any(edit_sets) else f"the {base}"
            raise LabError(f"model: {what} run of {self._model.shape.name} gives logits that are not finite")
        return readout

    def _check(self, edit: Edit) -> None:
        edit.check(self._model.shape, self._prompts)
        if edit.site.hook not in self._model.bridge.hook_dict:
            raise LabError(f"component: got {edit.site.component!r}, which {self._model.shape.name} does not have")

    def _run_bucket(
        self, bucket: Bucket, edit_sets: Sequence[EditSet], base: Run, readout: Readout, bar: tqdm[Any]
    ) -> None:
        first_layers = [self._first_layer(edit_set) for edit_set in edit_sets]
        recorded, base_log_probs = self._record(bucket, edit_sets, set(first_layers), base)
        n_rows = len(bucket.rows)
        by_first_layer = sorted(range(len(edit_sets)), key=first_layers.__getitem__)
        for chunk in _chunks(by_first_layer, max(1, self._batch_size // n_rows)):
            batch = [edit_sets[index] for index in chunk]
            first_layer = first_layers[chunk[0]]
            residual = recorded[base, _resid_pre(first_layer)].repeat(len(batch), 1, 1)
            tokens = bucket.tokens(base).repeat(len(batch), 1)
            logits = self._resumed_end_logits(tokens, first_layer, residual, self._edit_hooks(batch, bucket, recorded))
            self._read(logits.view(len(batch), n_rows, -1), base_log_probs, bucket, chunk, readout)
            bar.update(len(batch) * n_rows)

    def _first_layer(self, edit_set: EditSet) -> int:
        """The first block that has to be run for these edits; the last one where there are none."""
        if not self._can_resume:
            return 0
        return min((edit.site.layer for edit in edit_set), default=self._model.shape.n_layers - 1)

    def _record(
        self, bucket: Bucket, edit_sets: Sequence[EditSet], first_layers: set[int], base: Run
    ) -> tuple[Recorded, Float[Tensor, "row vocab"]]:
        """The activations that the edits read and that runs resume from, and the base run's log-probabilities."""
        needed: dict[Run, set[str]] = {base: {_resid_pre(layer) for layer in first_layers}}
        for edit in (edit for edit_set in edit_sets for edit in edit_set):
            if isinstance(edit.value, FromRun):
                needed.setdefault(edit.value.run, set()).add(edit.site.hook)
        recorded: Recorded = {}

        def recorder(run: Run, name: str) -> Callable[..., None]:
            def record(activation: Tensor, hook: object) -> None:
                recorded[run, name] = activation.clone()

            return record

        end_logits = {
            run: self._end_logits(bucket.tokens(run), [(name, recorder(run, name)) for name in sorted(names)])
            for run, names in needed.items()
        }
        return recorded, end_logits[base].log_softmax(dim=-1)

    def _edit_hooks(self, batch: Sequence[EditSet], bucket: Bucket, recorded: Recorded) -> Hooks:
        """One hook a site, which applies to each slot of the batch the edits of that slot's set."""
        by_hook: dict[str, list[tuple[int, Edit]]] = defaultdict(list)
        for slot, edit_set in enumerate(batch):
            for edit in edit_set:
                by_hook[edit.site.hook].append((slot, edit))

        def hook_for(edits: list[tuple[int, Edit]]) -> Callable[..., Tensor]:
            def apply(activation: Tensor, hook: object) -> Tensor:
                edited = activation.clone()
                slots = edited.view(len(batch), len(bucket.rows), *activation.shape[1:])
                for slot, edit in edits:
                    source = recorded[edit.value.run, edit.site.hook] if isinstance(edit.value, FromRun) else None
                    self._apply(edit, slots[slot], source, bucket)
                return edited

            return apply

        return [(name, hook_for(edits)) for name, edits in by_hook.items()]

    def _apply(
        self, edit: Edit, activation: Float[Tensor, "row pos *width"], source: Tensor | None, bucket: Bucket
    ) -> None:
        """Apply one edit in place; `source` is the recorded activation that a `FromRun` value stands for."""
        if edit.site.head is not None:
            activation = activation[:, :, edit.site.head]
            source = source[:, :, edit.site.head] if source is not None else None
        rows, positions = self._selected(edit, bucket)
        old = activation[rows, positions]
        if edit.operation == "zero":
            new = torch.zeros_like(old)
        elif edit.operation == "scale":
            new = edit.scale * old
        else:
            value = source[rows, positions] if source is not None else _given(edit, bucket.rows[rows], like=old)
            new = value if edit.operation == "replace" else old + edit.scale * value
        activation[rows, positions] = new

    def _selected(self, edit: Edit, bucket: Bucket) -> tuple[Int[Tensor, "n"], Int[Tensor, "n"]]:
        """Row and position of each place in the bucket that the edit's position selects."""
        places = [
            (row, position)
            for row, prompt in enumerate(bucket.rows.tolist())
            for position in self._prompts[prompt].positions(edit.site.position)
        ]
        selected = torch.tensor(places, device=bucket.clean.device)
        return selected[:, 0], selected[:, 1]

    def _resumed_end_logits(
        self, tokens: Int[Tensor, "batch pos"], layer: int, residual: Float[Tensor, "batch pos d_model"], hooks: Hooks
    ) -> Float[Tensor, "batch vocab"]:
        """Logits at END of a run that starts at block `layer` from its input `residual`."""
        resume: Hooks = [(_resid_pre(layer), lambda activation, hook: residual)] if layer > 0 else []
        with _skipped(self._model.bridge.blocks[:layer]):
            return self._end_logits(tokens, resume + hooks)

    @torch.inference_mode()
    def _resuming_is_exact(self) -> bool:
        """Whether skipping blocks gives this model's own logits, tried on one prompt; else every run is a whole one.

        It does where a block reads nothing of earlier blocks but the residual stream and returns a plain tensor.
        """
        tokens, layer = self._buckets[0].clean[:1], self._model.shape.n_layers // 2
        recorded: list[Tensor] = []
        record: Hooks = [(_resid_pre(layer), lambda activation, hook: recorded.append(activation.clone()))]
        whole = self._end_logits(tokens, record)
        try:
            resumed = self._resumed_end_logits(tokens, layer, recorded[0], [])
        except Exception:  # an architecture that resists in whichever way is run as a whole
            return False
        return torch.equal(whole, resumed)

    def _end_logits(self, tokens: Int[Tensor, "batch pos"], hooks: Hooks) -> Float[Tensor, "batch vocab"]:
        """Logits at END in float32; earlier positions are dropped before the unembedding."""
        end_only: Hooks = [("unembed.hook_in", lambda residual, hook: residual[:, -1:])]
        with self._model.bridge.hooks(fwd_hooks=hooks + end_only):
            logits: Tensor = self._model.bridge(tokens)
        return logits[:, -1].float()

    def _read(
        self,
        logits: Float[Tensor, "edit_set row vocab"],
        base_log_probs: Float[Tensor, "row vocab"],
        bucket: Bucket,
        chunk: Sequence[int],
        readout: Readout,
    ) -> None:
        """Write what the metrics need of these logits into `readout`."""
        log_probs = logits.log_softmax(dim=-1)
        where = np.ix_(chunk, bucket.rows.tolist())
        answer = bucket.answer.expand(len(chunk), -1)[..., None]
        distractor = bucket.distractor.expand(len(chunk), -1)[..., None]
        kl = (base_log_probs.exp() * (base_log_probs - log_probs)).sum(dim=-1)
        for name, values in {
            "answer_logit": logits.gather(-1, answer)[..., 0],
            "distractor_logit": logits.gather(-1, distractor)[..., 0],
            "p_answer": log_probs.gather(-1, answer)[..., 0].exp(),
            "p_distractor": log_probs.gather(-1, distractor)[..., 0].exp(),
            "kl": kl.clamp_min(0),
        }.items():
            getattr(readout, name)[where] = values.cpu().numpy()

    def _split(self, rows: list[int]) -> Iterator[Bucket]:
        """Prompts of one length, in pieces that fit a batch."""
        device = self._model.device
        for piece in _chunks(rows, self._batch_size):
            pairs = [self._prompts[row] for row in piece]
            yield Bucket(
                rows=torch.tensor(piece, device=device),
                clean=torch.tensor([pair.clean_tokens for pair in pairs], device=device),
                corrupted=torch.tensor([pair.corrupted_tokens for pair in pairs], device=device),
                answer=torch.tensor([pair.answer_id for pair in pairs], device=device),
                distractor=torch.tensor([pair.distractor_id for pair in pairs], device=device),
            )


def _resid_pre(layer: int) -> str:
    return Site("resid_pre", layer).hook


@contextmanager
def _skipped(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Let `blocks` hand their input on as it is; whatever else the model does (masks, rotary angles) stays its own."""
    blocks = list(blocks)
    for block in blocks:
        # Into the instance's own dictionary: TransformerBridge's blocks pass other attributes on to what they wrap.
        block.__dict__["forward"] = lambda hidden_states, *_, **__: hidden_states
    try:
        yield
    finally:
        for block in blocks:
            del block.__dict__["forward"]


def _given(edit: Edit, prompts: Int[Tensor, "n"], *, like: Float[Tensor, "n *width"]) -> Float[Tensor, "n *width"]:
    """The edit's own tensor at each of the places `like`, which belong to `prompts`."""
    assert isinstance(edit.value, Tensor)  # `Edit.check` has seen to it
    value = edit.value.to(like)
    if value.dim() == 1:
        return value.view(like.shape[1:]).expand_as(like)
    return value[prompts].view(like.shape)


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (items[start : start + size] for start in range(0, len(items), size))
