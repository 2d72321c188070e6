"""Direct logit attribution: what the embedding, each head and each MLP add to the logit difference at END.

The residual stream at END is a sum of what components have written, and with the final norm's scale held as it was the
logits are linear in it, so the logit difference is a sum with one term a component (Elhage et al. 2021; Wang et al.
2022, arXiv 2211.00593). TransformerLens' function of that name needs weights folded in its compatibility mode; this
one reads the raw weights that everything else in the lab runs on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import torch
from jaxtyping import Float, Int

from ioi_lab.engine.edits import EditSet, Pass, Site
from ioi_lab.errors import LabError
from ioi_lab.models.shape import Component
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from torch import Tensor

    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import LabModel

WRITERS: Final[tuple[Component, ...]] = ("z", "mlp_out")
TOLERANCE: Final = 1e-3
"""How far, in logits, the terms may add up beside the logit difference in float32."""


@dataclass(frozen=True)
class DirectTerms:
    """The terms of a logit, or of a difference of two, by prompt.

    `attention_bias` is the bias behind W_O of each layer, `constant` the biases of the final norm and the unembedding.
    """

    embedding: Float[Array, "prompt"]
    heads: Float[Array, "layer head prompt"]
    attention_bias: Float[Array, "layer prompt"]
    mlps: Float[Array, "layer prompt"]
    constant: Float[Array, "prompt"]

    @classmethod
    def empty(cls, n_layers: int, n_heads: int, n_prompts: int) -> Self:
        """Zeros, to be filled."""
        shapes = ((), (n_layers, n_heads), (n_layers,), (n_layers,), ())
        return cls(*(np.zeros((*shape, n_prompts)) for shape in shapes))

    @property
    def sum(self) -> Float[Array, "prompt"]:
        """All terms together."""
        layers: Array = self.heads.sum(axis=(0, 1)) + self.attention_bias.sum(axis=0) + self.mlps.sum(axis=0)
        return self.embedding + layers + self.constant

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class DirectEffects:
    """The terms of the answer's and of the distractor's logit, each less the vocabulary's mean logit."""

    answer: DirectTerms
    distractor: DirectTerms
    logit_diff: Float[Array, "prompt"]
    """The model's own."""

    @property
    def difference(self) -> DirectTerms:
        """The terms of the logit difference."""
        return self.answer - self.distractor

    @property
    def error(self) -> float:
        """How far the terms' sum is, at most, from the model's own logit difference."""
        return float(np.abs(self.difference.sum - self.logit_diff).max())


@torch.no_grad()
def direct_effects(engine: Engine, run: Pass, edits: EditSet = ()) -> DirectEffects:
    """The terms in an unedited run, or under one edit set.

    Raises a `LabError` where they do not add up to the model's logit difference, within 1e-3 in float32: then the model
    does more between residual stream and logits than a norm and an unembedding (soft caps, norms behind blocks).
    """
    model, shape = engine.model, engine.shape
    sizes = shape.n_layers, shape.n_heads, len(engine.prompts)
    readout = engine.run([edits], run, progress=False) if edits else engine.baseline(run)
    effects = DirectEffects(DirectTerms.empty(*sizes), DirectTerms.empty(*sizes), readout.logit_diff[0])
    first, last = Site("resid_pre", 0), Site("resid_post", shape.n_layers - 1)
    parts = [Site(component, layer) for layer in range(shape.n_layers) for component in WRITERS]
    for rows, held in engine.stream(run, [first, last, *parts], edits):
        end = {site: activation[:, -1] for site, activation in held.items()}
        for terms, name in ((effects.answer, "answer_id"), (effects.distractor, "distractor_id")):
            tokens = torch.tensor([getattr(engine.prompts[row], name) for row in rows], device=model.device)
            direction, constant = readout_direction(model, end[last], tokens)
            terms.constant[list(rows)] = _array(constant)
            terms.embedding[list(rows)] = _array((end[first] * direction).sum(dim=-1))
            _add_layers(terms, model, list(rows), end, direction)
    tolerance = max(TOLERANCE, 10 * model.rounding * readout.largest_logit)
    if not effects.error <= tolerance:
        raise LabError(
            f"intervention: the direct terms of {shape.name} miss its logit difference by {effects.error:.4g}, more "
            f"than {tolerance:.4g}: it does more than a norm and an unembedding between residual stream and logits"
        )
    return effects


def _add_layers(
    terms: DirectTerms,
    model: LabModel,
    rows: list[int],
    end: Mapping[Site, Float[Tensor, "row width"]],
    direction: Float[Tensor, "row d_model"],
) -> None:
    for layer in range(model.shape.n_layers):
        attention = model.bridge.blocks[layer].attn
        read_of_z = torch.einsum("hed,rd->rhe", attention.W_O.float(), direction)
        z = end[Site("z", layer)].unflatten(-1, (model.shape.n_heads, -1))
        terms.heads[layer][:, rows] = _array((z * read_of_z).sum(dim=-1)).T
        terms.mlps[layer][rows] = _array((end[Site("mlp_out", layer)] * direction).sum(dim=-1))
        if attention.b_O is not None:
            terms.attention_bias[layer][rows] = _array(direction @ attention.b_O.float())


def readout_direction(
    model: LabModel, final: Float[Tensor, "row d_model"], tokens: Int[Tensor, "row"]
) -> tuple[Float[Tensor, "row d_model"], Float[Tensor, "row"]]:
    """What a token's logit, less the mean logit, reads of the stream, at the norm's scale for `final`, and adds."""
    bridge = model.bridge
    unembedding = bridge.W_U.float()
    read = (unembedding[:, tokens] - unembedding.mean(dim=1, keepdim=True)).T
    constant = bridge.b_U[tokens].float() - bridge.b_U.float().mean()
    kind = bridge.cfg.normalization_type
    if kind is None:
        return read, constant
    weight = getattr(bridge.ln_final, "weight", None)
    bias = getattr(bridge.ln_final, "bias", None)
    if bias is not None:
        constant = constant + read @ bias.float()
    if weight is not None:
        read = read * (weight.float() + (1.0 if bridge.cfg.rmsnorm_uses_offset else 0.0))
    if str(kind).startswith("LN"):  # the norm takes the mean of the stream away: so does its transpose of what reads
        read = read - read.mean(dim=-1, keepdim=True)
        final = final - final.mean(dim=-1, keepdim=True)
    scale = (final.square().mean(dim=-1, keepdim=True) + bridge.cfg.eps).sqrt()
    return read / scale, constant


def _array(values: Tensor) -> Array:
    return values.double().cpu().numpy()
