"""The effects of edits on ordinary text: the rise of the next-token loss, and how often the likeliest token stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ioi_lab.engine.edits import EditSet, Site
from ioi_lab.lenses.logit import lens_log_probs
from ioi_lab.stats.metrics import Array
from ioi_lab.terminal import progress_bar

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


@dataclass(frozen=True)
class SideEffects:
    """The effects of each edit set on each passage."""

    loss_change: Float[Array, "edit_set passage"]
    """The change of the next-token loss, in nats per token."""

    agreement: Float[Array, "edit_set passage"]
    """The share of tokens after which the likeliest next token stays the same."""

    loss: Float[Array, "passage"]
    """The next-token loss without edits, in nats per token."""


def side_effects(engine: Engine, edit_sets: Sequence[EditSet]) -> SideEffects:
    """Measure the effects of edit sets on the engine's passages (`tasks.text.passages`).

    The residual stream after the last layer is read through the final norm and the unembedding. If `check_readout`, on
    prompts with an answer, has passed, these are the model's own logits.
    """
    before = _read(engine, ())
    loss = np.array([passage.loss for passage in before])
    size = len(edit_sets), len(before)
    changed, agreement = np.empty(size), np.empty(size)
    with progress_bar(len(edit_sets), "side effects", unit="edit") as bar:
        for index, edits in enumerate(edit_sets):
            after = _read(engine, edits)
            changed[index] = [passage.loss for passage in after]
            same = [(new.top == old.top).double().mean() for new, old in zip(after, before, strict=True)]
            agreement[index] = [float(share) for share in same]
            bar.update()
    return SideEffects(changed - loss, agreement, loss)


@dataclass(frozen=True)
class _Passage:
    """The mean next-token loss of a passage, and the likeliest next token at each position but the last."""

    loss: float
    top: Int[Tensor, "pos"]


def _read(engine: Engine, edits: EditSet) -> list[_Passage]:
    last = Site("resid_post", engine.shape.n_layers - 1)
    passages: dict[int, _Passage] = {}
    for rows, activations in engine.stream("clean", [last], edits):
        for index, row in enumerate(rows):  # one at a time: log-probabilities over the vocabulary are large
            ids = torch.tensor(engine.prompts[row].clean_tokens, device=engine.model.device)
            stream = activations[last][index, : len(ids) - 1]
            log_probs = lens_log_probs(engine.model.bridge, stream[None], [last], {})[0]
            next_token = log_probs.gather(-1, ids[1:, None])
            passages[row] = _Passage(-float(next_token.double().mean()), log_probs.argmax(dim=-1))
    return [passages[row] for row in range(len(engine.prompts))]
