"""A network with a known circuit: one previous-token head, one induction head that reads it, and heads that do nothing.

Attention-only, GPT-2-shaped, with weights set by hand: what an analysis should find in it is known. `write_network`
saves the network as a Hugging Face folder. Only its circuit can answer the prompts of `task=induction`.

The residual stream is made of blocks, each a one-hot vector less its mean: the token, the token before (written by the
previous-token head), the next token (written by the induction head, read by the unembedding) and the position. Two more
dimensions contain a large constant and its negative. They dominate every norm, whose weight undoes them: up to a
relative error of 1e-3 the norms do nothing.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from ioi_lab.tasks.induction import WORDS

VOCAB = ("<bos>", "<unk>", *WORDS)
SIZE = len(VOCAB)  # 32, of a head too
N_LAYERS, N_HEADS, N_POSITIONS = 3, 4, 30
D_MODEL = N_HEADS * SIZE

Head = tuple[int, int]
"""A layer, and a head in it."""

PREVIOUS_TOKEN: Final[Head] = (0, 1)
INDUCTION: Final[Head] = (2, 3)

TOKEN, BEFORE, NEXT = (slice(index * SIZE, (index + 1) * SIZE) for index in range(3))
POSITION = slice(NEXT.stop, NEXT.stop + N_POSITIONS)
CONSTANT = POSITION.stop, POSITION.stop + 1
LARGE = 50.0
SCORE = 30.0
"""The attention score of a match, before the softmax; that of BOS in the induction head is half of it, of others 0."""

LOGIT = 15.0
"""The logit that the induction head gives to the token that it copies."""


def write_network(
    folder: Path,
    *,
    previous_token: Head = PREVIOUS_TOKEN,
    induction: Head = INDUCTION,
    noise: float = 0.01,
    seed: int = 0,
) -> None:
    """Save the network and its tokenizer.

    Args:
        folder: The folder to write.
        previous_token: The layer and the head of the previous-token head.
        induction: Those of the induction head, in a later layer.
        noise: The size of what each other head writes into each dimension of the stream, where tokens have 1; these
            heads attend at random. 0: they write nothing at all.
        seed: Draws the weights of the other heads.

    """
    network = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=SIZE,
            n_embd=D_MODEL,
            n_layer=N_LAYERS,
            n_head=N_HEADS,
            n_positions=N_POSITIONS,
            n_inner=8,
            bos_token_id=0,
            eos_token_id=0,
            tie_word_embeddings=False,
        )
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        _embed(network)
        for layer, head in product(range(N_LAYERS), range(N_HEADS)):
            if (layer, head) == previous_token:
                q, k, v, o = _previous_token_head()
            elif (layer, head) == induction:
                q, k, v, o = _induction_head()
            else:
                q, k, v, o = _other_head(noise, generator)
            _set_head(network, layer, head, q, k, v, o)
    network.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)


def circuit(previous_token: Head = PREVIOUS_TOKEN, induction: Head = INDUCTION) -> tuple[str, ...]:
    """Return the names of the edges of the circuit; the queries of the previous-token head are positions, no edges."""
    before, after = (f"a{layer}.h{head}" for layer, head in (previous_token, induction))
    inputs = (f"input->{before}<v>", f"input->{after}<q>", f"input->{after}<v>")
    return (*inputs, f"{before}->{after}<k>", f"{after}->logits")


def _embed(network: GPT2LMHeadModel) -> None:
    network.transformer.wte.weight[:, TOKEN] = _centred(SIZE)
    network.transformer.wpe.weight[:, POSITION] = _centred(N_POSITIONS)
    network.transformer.wte.weight[:, CONSTANT[0]] = LARGE
    network.transformer.wte.weight[:, CONSTANT[1]] = -LARGE
    network.lm_head.weight[:, NEXT] = LOGIT * torch.eye(SIZE)
    norms = [network.transformer.ln_f]
    for block in network.transformer.h:
        norms += [block.ln_1, block.ln_2]
    for norm in norms:
        norm.weight.fill_(LARGE * (2 / D_MODEL) ** 0.5)


def _centred(size: int) -> Tensor:
    return torch.eye(size) - 1 / size


def _previous_token_head() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The query of position i is the key of position i − 1; the token goes into the block BEFORE."""
    q, k, v, o = _no_head()
    later = torch.arange(1, N_POSITIONS)
    q[POSITION.start + later, later - 1] = _sharpness()
    k[POSITION, :N_POSITIONS] = _sharpness() * torch.eye(N_POSITIONS)
    v[TOKEN] = torch.eye(SIZE)
    o[:, BEFORE] = torch.eye(SIZE)
    return q, k, v, o


def _induction_head() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The query is the token, the key the token before; the token goes into the block NEXT. Without a match: to BOS."""
    q, k, v, o = _no_head()
    ones = torch.ones(SIZE)
    q[TOKEN] = _sharpness() * torch.eye(SIZE)
    q[CONSTANT[0]] = _sharpness() / SIZE / LARGE * ones  # undoes that one-hot vectors are centred
    k[BEFORE] = _sharpness() * torch.eye(SIZE)
    k[TOKEN.start] = _sharpness() / 2 * ones  # BOS
    k[CONSTANT[0]] = _sharpness() / 2 / SIZE / LARGE * ones
    v[TOKEN] = torch.eye(SIZE)
    v[TOKEN.start] = 0  # BOS is not copied
    o[:, NEXT] = torch.eye(SIZE)
    return q, k, v, o


def _other_head(noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A head that attends at random, by token and position, and writes random vectors."""
    q, k, v, o = _no_head()
    if noise == 0:
        return q, k, v, o
    for weight in (q, k, v):
        for block in (TOKEN, BEFORE, POSITION):
            weight[block] = torch.randn(weight[block].shape, generator=generator)
    o[:] = noise / SIZE**0.5 * torch.randn(o.shape, generator=generator)
    return q / SIZE**0.5, k / SIZE**0.5, v, o


def _no_head() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    q, k, v = (torch.zeros(D_MODEL, SIZE) for _ in range(3))
    return q, k, v, torch.zeros(SIZE, D_MODEL)


def _sharpness() -> float:
    """The factor of queries and of keys that gives SCORE, which attention divides by the root of a head's size."""
    return float((SCORE * SIZE**0.5) ** 0.5)


def _set_head(network: GPT2LMHeadModel, layer: int, head: int, q: Tensor, k: Tensor, v: Tensor, o: Tensor) -> None:
    attention = network.transformer.h[layer].attn
    joint = attention.c_attn.weight.view(D_MODEL, 3, N_HEADS, SIZE)  # GPT-2 has q of all heads, then k, then v
    for index, weight in enumerate((q, k, v)):
        joint[:, index, head] = weight
    attention.c_proj.weight.view(N_HEADS, SIZE, D_MODEL)[head] = o


def _tokenizer() -> PreTrainedTokenizerFast:
    """A token per word; a word has its leading space, as in SentencePiece."""
    vocabulary = {word if word.startswith("<") else f"▁{word}": index for index, word in enumerate(VOCAB)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<bos>",
        unk_token="<unk>",
        model_max_length=N_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
