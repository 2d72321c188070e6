"""Scores of single heads that need no edits: attention, direct effects, and whether an OV circuit copies names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float, Int

from ioi_lab.engine.edits import Pass, Site
from ioi_lab.lenses.attention import attention_to
from ioi_lab.lenses.direct_path import DirectPath
from ioi_lab.lenses.logit import readout_of
from ioi_lab.stats.metrics import Array
from ioi_lab.tasks.prompts import PromptPair, PromptPairs

if TYPE_CHECKING:
    from torch import Tensor

    from ioi_lab.engine.engine import Engine
    from ioi_lab.lenses.direct import DirectEffects
    from ioi_lab.models.loading import LabModel

MAX_REPEAT_LENGTH: Final = 25
"""The length, in tokens, of a random sequence before it is repeated, if the model's context allows it."""

N_LIKELIEST: Final = 5
"""A name counts as copied if it is among this many likeliest tokens (Wang et al. 2022, section 3.1)."""

SHARES: Final = ("copying", "negative_copying", "negative_copying_s2")
"""The scores that are shares of prompts: 1 or 0 for each."""

_SEQUENCES_AT_ONCE: Final = 4


def unedited_scores(
    engine: Engine, direct: DirectEffects, n_sequences: int, seed: int
) -> dict[str, Float[Array, "layer head sample"]]:
    """Return all scores of the clean pass, and those on repeated random tokens, by the names of `ioi_lab.lenses.roles`.

    Args:
        engine: The engine, on prompts with the labels IO, S1, S1+1 and S2.
        direct: The direct effects in the clean pass.
        n_sequences: The number of sequences of repeated random tokens.
        seed: Draws these sequences.

    Returns:
        A sample is a prompt or, for scores on random tokens (`…_random`), a sequence. Direct effects are shares of the
        answer's mean logit over the mean logit, and of the mean logit difference.

    """
    from_second = attention_to(engine, "clean", "S2", ["S1", "S1+1"])
    from_end = attention_to(engine, "clean", "END", ["IO", "S1", "S2"])
    answer, difference = direct.answer.sum.mean(), direct.logit_diff.mean()
    on_random_tokens = repeat_scores(engine, n_sequences, seed)
    to_io, to_s1, to_s2 = from_end[:, :, 0], from_end[:, :, 1], from_end[:, :, 2]
    return {f"{name}_random": scores for name, scores in on_random_tokens.items()} | {
        "previous_token_task": attention_to(engine, "clean", "S1+1", ["S1"])[:, :, 0],
        "duplicate_token_task": from_second[:, :, 0],
        "induction_task": from_second[:, :, 1],
        "end_to_io": to_io,
        "end_to_s1": to_s1,
        "end_to_s2": to_s2,
        "end_to_s": to_s1 + to_s2,
        "end_to_io_minus_s": to_io - to_s1 - to_s2,
        "copying": copying_scores(engine, "clean", "IO"),
        "negative_copying": copying_scores(engine, "clean", "IO", negative=True),
        "negative_copying_s2": copying_scores(engine, "clean", "S2", negative=True),
        "direct_answer": share_of(direct.answer.heads, answer),
        "direct_distractor": share_of(direct.distractor.heads, answer),
        "direct_logit_diff": share_of(direct.difference.heads, difference),
    }


def share_of(values: Float[Array, "..."], whole: float) -> Float[Array, "..."]:
    """Return values as shares of a whole; NaN, which is not evidence, if the whole is at or below 0."""
    return values / whole if whole > 0 else np.full_like(values, np.nan)


def repeated_tokens(model: LabModel, n_sequences: int, seed: int) -> PromptPairs:
    """Return sequences of random tokens, each followed by its own copy, after BOS if the model takes one."""
    tokenizer = model.tokens.tokenizer
    bos = model.tokens.bos
    special = set(tokenizer.all_special_ids)
    ordinary = [token for token in range(min(len(tokenizer), model.bridge.cfg.d_vocab)) if token not in special]
    length = min(MAX_REPEAT_LENGTH, (model.shape.n_ctx - len(bos)) // 2, len(ordinary))
    rng = np.random.default_rng(seed)
    draws = [tuple(rng.choice(ordinary, length, replace=False).tolist()) for _ in range(n_sequences)]
    return PromptPairs([PromptPair.untasked(bos + draw + draw) for draw in draws])


def repeat_scores(engine: Engine, n_sequences: int, seed: int) -> Mapping[str, Float[Array, "layer head sequence"]]:
    """Return the mean attention weight, in each sequence of repeated random tokens, of each head on three places.

    `previous_token`: the token before; `duplicate_token`: the earlier copy of the token; `induction`: the token after
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
    scores = {name: np.zeros((shape.n_layers, shape.n_heads, n_sequences)) for name in places}
    sites = [Site("pattern", layer) for layer in range(shape.n_layers)]
    for first in range(0, n_sequences, _SEQUENCES_AT_ONCE):
        some = PromptPairs(list(sequences)[first : first + _SEQUENCES_AT_ONCE])
        for rows, activations in engine.on(some).stream("clean", sites):
            sampled = [first + row for row in rows]
            for layer, site in enumerate(sites):
                patterns = activations[site].unflatten(-1, (shape.n_heads, -1))  # [row, query, head, key]
                for name, (queries, keys) in places.items():
                    weights = patterns[:, queries, :, keys]  # [place, row, head]
                    scores[name][layer][:, sampled] = weights.mean(dim=0).double().cpu().numpy().T
    return scores


@torch.no_grad()
def copying_scores(
    engine: Engine, which: Pass, label: str, *, negative: bool = False
) -> Float[Array, "layer head prompt"]:
    """Return whether each head's OV circuit copies the name at a label or, if `negative`, does the opposite: 1 or 0.

    The residual stream after the first layer at the name goes through the norms before and after attention, W_V and
    W_O, and through the final norm and the unembedding. A name is copied if it is among the five likeliest tokens, and
    negatively copied if it is among the five likeliest of the negated output (Wang et al. 2022, arXiv 2211.00593,
    section 3.1).
    """
    shape, bridge = engine.shape, engine.model.bridge
    copied = np.zeros((shape.n_layers, shape.n_heads, len(engine.prompts)))
    side = "clean_tokens" if which == "clean" else "corrupted_tokens"
    site, path = Site("resid_post", 0), DirectPath.of(engine, which)
    for rows, activations in engine.stream_recorded(which, [site]):
        prompts = [engine.prompts[row] for row in rows]
        places = [prompt.index(label) for prompt in prompts]
        names = activations[site][list(range(len(rows))), places]
        read = [getattr(prompt, side)[place] for prompt, place in zip(prompts, places, strict=True)]
        tokens = torch.tensor(read, device=names.device)
        for layer in range(shape.n_layers):
            block = bridge.blocks[layer]
            values = block.attn.W_V.float().repeat_interleave(shape.n_heads // shape.n_kv_heads, dim=0)
            normed = path.read_by_attention(layer, names)
            moved = torch.einsum("rd,hde,hef->rhf", normed, values, block.attn.W_O.float())
            moved = path.written_by_attention(layer, moved)
            copied[layer][:, list(rows)] = _among_likeliest(engine.model, -moved if negative else moved, tokens)
    return copied


def _among_likeliest(
    model: LabModel, output: Float[Tensor, "row head d_model"], tokens: Int[Tensor, "row"]
) -> Float[Array, "head row"]:
    likeliest = readout_of(model.bridge, output, top_k=min(N_LIKELIEST, model.bridge.cfg.d_vocab)).top_ids
    among: Array = (likeliest == tokens[:, None, None]).any(dim=-1).T.double().cpu().numpy()
    return among
