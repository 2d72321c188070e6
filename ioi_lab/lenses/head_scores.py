"""Scores of single heads: what they attend to in repeated random tokens, and whether their OV circuit copies names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float

from ioi_lab.engine.edits import Pass, Site
from ioi_lab.lenses.logit import readout_of
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import PromptPair, PromptPairs

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import LabModel

MAX_REPEAT_LENGTH: Final = 25
TOP: Final = 5
"""A name counts as copied where it is among so many likeliest tokens (Wang et al. 2022, section 3.1)."""

_SEQUENCES_AT_ONCE: Final = 4


def repeated_tokens(model: LabModel, n_sequences: int, seed: int) -> PromptPairs:
    """Sequences of random tokens, each followed by itself, behind BOS if the model takes one."""
    tokenizer = model.tokens.tokenizer
    bos = (int(tokenizer.bos_token_id),) if model.tokens.prepend_bos else ()
    special = set(tokenizer.all_special_ids)
    ordinary = [token for token in range(min(len(tokenizer), model.bridge.cfg.d_vocab)) if token not in special]
    length = min(MAX_REPEAT_LENGTH, (model.shape.n_ctx - len(bos)) // 2, len(ordinary))
    rng = np.random.default_rng(seed)
    draws = [tuple(rng.choice(ordinary, length, replace=False).tolist()) for _ in range(n_sequences)]
    return PromptPairs([PromptPair.untasked(bos + draw + draw) for draw in draws])


def repeat_scores(engine: Engine, n_sequences: int, seed: int) -> Mapping[str, Float[Array, "layer head"]]:
    """Mean attention, in repeated random tokens, of each head to three places.

    `previous_token`: the token before; `duplicate_token`: the earlier copy of the token; `induction`: the token behind
    that copy (Olsson et al. 2022, arXiv 2209.11895).
    """
    shape, model = engine.shape, engine.model
    sequences = repeated_tokens(model, n_sequences, seed)
    start = 1 if model.tokens.prepend_bos else 0
    length = (len(sequences[0]) - start) // 2
    later, second = np.arange(start + 1, start + 2 * length), np.arange(start + length, start + 2 * length)
    places = {
        "previous_token": (later, later - 1),
        "duplicate_token": (second, second - length),
        "induction": (second, second - length + 1),
    }
    totals = {name: np.zeros((shape.n_layers, shape.n_heads)) for name in places}
    sites = [Site("pattern", layer) for layer in range(shape.n_layers)]
    for first in range(0, n_sequences, _SEQUENCES_AT_ONCE):
        some = PromptPairs(list(sequences)[first : first + _SEQUENCES_AT_ONCE])
        for _, held in engine.on(some).stream("clean", sites):
            for layer, site in enumerate(sites):
                patterns = held[site].unflatten(-1, (shape.n_heads, -1))  # [row, query, head, key]
                for name, (queries, keys) in places.items():
                    weights = patterns[:, queries, :, keys]  # [place, row, head]
                    totals[name][layer] += weights.mean(dim=0).sum(dim=0).double().cpu().numpy()
    return {name: total / n_sequences for name, total in totals.items()}


@torch.no_grad()
def copying_scores(engine: Engine, run: Pass) -> tuple[Array, Array]:
    """Whether each head's OV circuit copies the IO name, and whether it does the opposite.

    Both are 1 or 0, `[layer, head, prompt]`. The stream after the first layer at the name goes through the head's norm,
    W_V and W_O, and through the final norm and the unembedding; copied is a name among the five likeliest tokens,
    negatively copied one among the five likeliest of the negated output (Wang et al. 2022, arXiv 2211.00593, 3.1).
    """
    shape, bridge = engine.shape, engine.model.bridge
    copied, opposed = (np.zeros((shape.n_layers, shape.n_heads, len(engine.prompts))) for _ in range(2))
    site = Site("resid_post", 0)
    for rows, held in engine.stream(run, [site]):
        prompts = [engine.prompts[row] for row in rows]
        names = held[site][list(range(len(rows))), [prompt.positions("IO").start for prompt in prompts]]
        answers = torch.tensor([prompt.answer_id for prompt in prompts], device=names.device)
        for layer in range(shape.n_layers):
            block = bridge.blocks[layer]
            values = block.attn.W_V.float().repeat_interleave(shape.n_heads // shape.n_kv_heads, dim=0)
            seen = block.ln1(names[None].to(block.attn.W_V.dtype))[0].float()
            moved = torch.einsum("rd,hde,hef->rhf", seen, values, block.attn.W_O.float())
            for scores, output in ((copied, moved), (opposed, -moved)):
                scores[layer][:, list(rows)] = _among_likeliest(engine.model, output, answers)
    return copied, opposed


def _among_likeliest(model: LabModel, output: torch.Tensor, tokens: torch.Tensor) -> Float[Array, "head row"]:
    likeliest = readout_of(model.bridge, output, top_k=min(TOP, model.bridge.cfg.d_vocab)).top_ids
    found: Array = (likeliest == tokens[:, None, None]).any(dim=-1).T.double().cpu().numpy()
    return found
