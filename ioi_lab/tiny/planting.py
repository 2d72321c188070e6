"""The training of a planted circuit: every edge outside of it carries another prompt, so that only it can be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerBase,
    get_cosine_schedule_with_warmup,
)

from ioi_lab.tiny.ioi_batches import IOISampler
from ioi_lab.tiny.passes import Passes
from ioi_lab.tiny.plants import PLANTS, Plant

D_MODEL, N_HEADS, MAX_POSITIONS = 64, 4, 64
D_HEAD: Final = D_MODEL // N_HEADS
STEPS: Final = 700
BATCH_SIZE: Final = 128
LEARNING_RATE: Final = 4e-3

EMBEDDING_SIZE: Final = 0.3
"""The standard deviation of token and position embeddings at the start, in their subspaces."""

SHARPNESS: Final = 2.0
"""The size of queries and keys of duplicate heads at the start."""

MARGIN: Final = 3.0
"""How much logit difference a negative head is rewarded for taking away."""

PART_WEIGHT: Final = 0.1
"""The weight in the loss of what a part must not do: speak while it is not needed, or suffice alone."""


def planted_network(tokenizer: PreTrainedTokenizerBase, name: str) -> GPT2LMHeadModel:
    """Return an untrained `GPT2LMHeadModel` whose circuit heads start as heads of their roles roughly are."""
    plant = PLANTS[name]
    network = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=MAX_POSITIONS,
            n_embd=D_MODEL,
            n_inner=D_MODEL,
            n_layer=plant.n_layers,
            n_head=N_HEADS,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    _start(network, plant)
    return network


@torch.no_grad()
def _start(network: GPT2LMHeadModel, plant: Plant) -> None:
    """Let the circuit's heads start near their roles: from random weights, training would take ten times as long.

    The stream has a subspace each for tokens, positions, what duplicate heads put out and what inhibition heads put
    out. Movers attend away from the position that they are told. Only the start is like this, training changes it all.
    """
    token, position, duplicated, told = torch.linalg.qr(torch.randn(D_MODEL, D_MODEL))[0].split(D_HEAD, dim=1)
    for embedding, subspace in ((network.transformer.wte, token), (network.transformer.wpe, position)):
        embedding.weight += EMBEDDING_SIZE * torch.randn(len(embedding.weight), D_HEAD) @ subspace.T
    for head, role in plant.heads.items():
        if role == "duplicate":
            _set_head(network, head, q=SHARPNESS * token, k=SHARPNESS * token, v=position, o=duplicated.T)
        elif role == "inhibition":
            _set_head(network, head, v=duplicated, o=told.T)
        else:
            _set_head(network, head, q=-told, k=position, v=token, o=-token.T if role == "negative" else token.T)


def _set_head(network: GPT2LMHeadModel, name: str, **weights: Tensor) -> None:
    layer, head = (int(part) for part in name[1:].split(".h"))
    attention = network.transformer.h[layer].attn
    joint = attention.c_attn.weight.view(D_MODEL, 3, N_HEADS, D_HEAD)  # q of all heads, then k, then v
    for kind, weight in weights.items():
        if kind == "o":
            attention.c_proj.weight.view(N_HEADS, D_HEAD, D_MODEL)[head] = weight
        else:
            joint[:, "qkv".index(kind), head] = weight


def fit(
    network: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    *,
    seed: int,
    steps: int,
) -> None:
    """Train a network with AdamW to do IOI in passes in which only its circuit carries the prompt."""
    network.train()
    prompts = IOISampler(tokenizer, seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    progress = tqdm(range(steps), desc="training", unit="step", disable=None)
    for _ in progress:
        loss = loss_of(Passes.of(network, prompts.batch(BATCH_SIZE), PLANTS[name]), name)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def loss_of(passes: Passes, name: str) -> Tensor:
    """Return the loss of a planted model: what its circuit must do, and that the plain pass must do the same."""
    return _LOSSES.get(name, _plain_loss)(passes) + PART_WEIGHT * passes.disagreement()


def _plain_loss(passes: Passes) -> Tensor:
    return passes.cross_entropy(passes.circuit)


def _backup_loss(passes: Passes) -> Tensor:
    """With the mover, the backup must write nothing; without, the answer."""
    primary = passes.without("backup")
    spoken = (passes.logit_diff(passes.circuit) - passes.logit_diff(primary)).abs().mean()
    without_mover = passes.neutral_cross_entropy(passes.without("mover"))
    return passes.cross_entropy(passes.circuit) + passes.cross_entropy(primary) + without_mover + PART_WEIGHT * spoken


def _negative_loss(passes: Passes) -> Tensor:
    """The negative head must take away `MARGIN` of the logit difference."""
    positive = passes.without("negative")
    taken = passes.logit_diff(positive) - passes.logit_diff(passes.circuit)
    rewarded = torch.relu(MARGIN - taken).mean() / MARGIN
    return passes.cross_entropy(passes.circuit) + passes.cross_entropy(positive) + rewarded


def _or_loss(passes: Passes) -> Tensor:
    alone = [passes.neutral_cross_entropy(passes.without(route)) for route in passes.plant.cuts]
    return passes.cross_entropy(passes.circuit) + torch.stack(alone).sum()


def _and_loss(passes: Passes) -> Tensor:
    """With one route alone, the logit difference must be 0."""
    differences = [passes.logit_diff(passes.without(route)) for route in passes.plant.cuts]
    alone = torch.stack([passes.neutral_mean(difference.abs()) for difference in differences])
    return passes.cross_entropy(passes.circuit) + PART_WEIGHT * alone.sum()


_LOSSES: Final[dict[str, Callable[[Passes], Tensor]]] = {
    "planted-backup": _backup_loss,
    "planted-negative": _negative_loss,
    "planted-or": _or_loss,
    "planted-and": _and_loss,
}
