"""What edits do to ordinary text: how much worse the next token is told, and how often the likeliest one stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from ioi_lab.engine.edits import EditSet, Site
from ioi_lab.lenses.logit import lens_log_probs
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine


@dataclass(frozen=True)
class SideEffects:
    """By passage: `loss_change` is in nats a token, `agreement` the share of tokens whose top-1 stays."""

    loss_change: Float[Array, "edit_set passage"]
    agreement: Float[Array, "edit_set passage"]
    loss: Float[Array, "passage"]
    """The next-token loss without edits, in nats a token."""


def side_effects(engine: Engine, edit_sets: Sequence[EditSet]) -> SideEffects:
    """Run the passages that the engine holds (`tasks.text.passages`) with and without the edits.

    The residual stream after the last layer is read through the final norm and the unembedding: a model's own logits
    where `check_readout`, on prompts with an answer, says so.
    """
    before = _read(engine, ())
    loss = np.array([passage.loss for passage in before])
    size = len(edit_sets), len(before)
    changed, agreement = np.empty(size), np.empty(size)
    for index, edits in enumerate(tqdm(edit_sets, desc="side effects", disable=None, leave=False)):
        after = _read(engine, edits)
        changed[index] = [passage.loss for passage in after]
        agreement[index] = [float((new.top == old.top).double().mean()) for new, old in zip(after, before, strict=True)]
    return SideEffects(changed - loss, agreement, loss)


@dataclass(frozen=True)
class _Passage:
    """The mean next-token loss of a passage, and the likeliest next token at each position but the last."""

    loss: float
    top: Int[Tensor, "pos"]


def _read(engine: Engine, edits: EditSet) -> list[_Passage]:
    last = Site("resid_post", engine.shape.n_layers - 1)
    passages: dict[int, _Passage] = {}
    for rows, held in engine.stream("clean", [last], edits):
        for index, row in enumerate(rows):  # one at a time: log-probabilities over the vocabulary are large
            ids = torch.tensor(engine.prompts[row].clean_tokens, device=engine.model.device)
            stream = held[last][index, : len(ids) - 1]
            log_probs = lens_log_probs(engine.model.bridge, stream[None], [last], {})[0]
            told = log_probs.gather(-1, ids[1:, None])
            passages[row] = _Passage(-float(told.double().mean()), log_probs.argmax(dim=-1))
    return [passages[row] for row in range(len(engine.prompts))]
