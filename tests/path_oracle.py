"""Path patching on the plain Hugging Face model: every output but the sender's is frozen by plain hooks."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ioi_lab.engine.edits import Pass, Site
from ioi_lab.engine.path_patching import Mlps
from ioi_lab.tasks.prompts import PromptPair
from tests.oracle import Change, activation, changed, tokens


@cache
def unedited(plain: PreTrainedModel, ids: tuple[int, ...], site: Site) -> Tensor:
    """The activation in a plain pass, which all senders share."""
    return activation(plain, torch.tensor([ids]), site)


def frozen(
    plain: PreTrainedModel,
    pair: PromptPair,
    sender: Site,
    to: Site | None,
    base: Pass,
    source: Pass,
    mlps: Mlps = "frozen",
) -> float:
    """The logit difference, by freezing every output but the sender's (and, if they are free, MLPs) by plain hooks."""
    layers = range(plain.config.num_hidden_layers)
    outputs = {Site("attn_out", layer) for layer in layers}
    if mlps == "frozen":
        outputs |= {Site("mlp_out", layer) for layer in layers}
    former = {site: unedited(plain, tuple(tokens(pair, base)[0].tolist()), site) for site in outputs}
    other = unedited(plain, tuple(tokens(pair, source)[0].tolist()), Site(sender.component, sender.layer))
    own = Site("attn_out" if sender.component == "z" else "mlp_out", sender.layer)
    received: list[Tensor] = []

    def send(x: Tensor) -> Tensor:
        if sender.head is None:
            return other
        d_head = x.shape[-1] // plain.config.num_attention_heads
        of_head = slice(sender.head * d_head, (sender.head + 1) * d_head)
        x = x.clone()
        x[:, of_head] = other[:, of_head]
        return x

    def listen(x: Tensor) -> Tensor:
        received.append(x.clone())
        return x

    def frozen_at(site: Site) -> Change:
        return lambda x: former[site]

    # An MLP that is sender or receiver is hooked in turn, outside of the frozen ones.
    with ExitStack() as stack:
        stack.enter_context(changed(plain, Site(sender.component, sender.layer), send))
        if to is not None:
            stack.enter_context(changed(plain, Site(to.component, to.layer), listen))
        for site in outputs - {own}:
            stack.enter_context(changed(plain, site, frozen_at(site)))
        logits = plain(tokens(pair, base)).logits[0, -1]

    def receive(x: Tensor) -> Tensor:
        assert to is not None
        if to.head is None:
            return received[0]
        n_heads = plain.config.num_attention_heads
        n_heads = getattr(plain.config, "num_key_value_heads", n_heads) if to.component in "kv" else n_heads
        x = x.clone().unflatten(-1, (n_heads, -1))
        x[:, to.head] = received[0].unflatten(-1, (n_heads, -1))[:, to.head]
        return x.flatten(1)

    if to is not None:
        with changed(plain, Site(to.component, to.layer), receive):
            logits = plain(tokens(pair, base)).logits[0, -1]
    return float(logits[pair.answer_id] - logits[pair.distractor_id])
