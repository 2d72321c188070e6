"""Direct logit attribution: the terms that the embedding, each head and each MLP add to the logit difference at END.

The residual stream at END is the sum of the outputs of all components. With the scale of the final norm fixed at its
value in the pass, the logits are linear in it, so the logit difference is a sum with one term per component (Elhage et
al. 2021; Wang et al. 2022, arXiv 2211.00593). TransformerLens' function of that name needs weights folded in its
compatibility mode; this module reads the raw weights that everything else in the lab runs on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import torch
from jaxtyping import Float, Int

from ioi_lab.engine.edits import EditSet, Pass, Site
from ioi_lab.engine.readouts import to_array
from ioi_lab.errors import LabError
from ioi_lab.models.shape import Component
from ioi_lab.stats.metrics import Array

if TYPE_CHECKING:
    from torch import Tensor

    from ioi_lab.engine.engine import Engine
    from ioi_lab.models.loading import LabModel

WRITERS: Final[tuple[Component, ...]] = ("z", "mlp_out")
TOLERANCE: Final = 1e-3
"""The largest difference, in logits, between the sum of the terms and the logit difference in float32."""


@dataclass(frozen=True)
class DirectTerms:
    """The terms of a logit, or of the difference of two logits, by prompt."""

    embedding: Float[Array, "prompt"]
    heads: Float[Array, "layer head prompt"]
    attention_bias: Float[Array, "layer prompt"]
    """The terms of the bias that each layer adds after W_O."""

    mlps: Float[Array, "layer prompt"]
    constant: Float[Array, "prompt"]
    """The term of the biases of the final norm and of the unembedding."""

    @classmethod
    def empty(cls, n_layers: int, n_heads: int, n_prompts: int) -> Self:
        """Return terms of zeros, to be filled."""
        shapes = ((), (n_layers, n_heads), (n_layers,), (n_layers,), ())
        return cls(*(np.zeros((*shape, n_prompts)) for shape in shapes))

    @property
    def sum(self) -> Float[Array, "prompt"]:
        """The sum of all terms."""
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
    """The logit difference that the model itself gives."""

    @property
    def difference(self) -> DirectTerms:
        """The terms of the logit difference."""
        return self.answer - self.distractor

    @property
    def error(self) -> float:
        """The largest distance, in logits, of the sum of the terms from the model's own logit difference."""
        return float(np.abs(self.difference.sum - self.logit_diff).max())


@torch.no_grad()
def direct_effects(engine: Engine, base: Pass, edits: EditSet = ()) -> DirectEffects:
    """Return the terms in an unedited pass over the engine's prompts, or in the `base` pass under one edit set.

    Raises a `LabError` if they do not add up to the model's logit difference, within 1e-3 in float32: then the model
    does more between residual stream and logits than a norm and an unembedding (soft caps, norms after blocks).
    """
    model, shape = engine.model, engine.shape
    sizes = shape.n_layers, shape.n_heads, len(engine.prompts)
    readout = engine.run([edits], base, progress=False) if edits else engine.baseline(base)
    effects = DirectEffects(DirectTerms.empty(*sizes), DirectTerms.empty(*sizes), readout.logit_diff[0])
    first, last = Site("resid_pre", 0), Site("resid_post", shape.n_layers - 1)
    parts = [Site(component, layer) for layer in range(shape.n_layers) for component in WRITERS]
    for rows, activations in engine.stream(base, [first, last, *parts], edits):
        end = {site: activation[:, -1] for site, activation in activations.items()}
        for terms, name in ((effects.answer, "answer_id"), (effects.distractor, "distractor_id")):
            tokens = torch.tensor([getattr(engine.prompts[row], name) for row in rows], device=model.device)
            direction, constant = readout_direction(model, end[last], tokens)
            terms.constant[list(rows)] = to_array(constant)
            terms.embedding[list(rows)] = to_array((end[first] * direction).sum(dim=-1))
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
    """Fill in the terms of every layer for some prompts.

    Args:
        terms: The terms to be filled.
        model: The model.
        rows: The indices of the prompts.
        end: The activations of the components at END.
        direction: What the logit reads of the residual stream (see `readout_direction`).

    """
    for layer in range(model.shape.n_layers):
        attention = model.bridge.blocks[layer].attn
        weights_on_z = torch.einsum("hed,rd->rhe", attention.W_O.float(), direction)
        z = end[Site("z", layer)].unflatten(-1, (model.shape.n_heads, -1))
        terms.heads[layer][:, rows] = to_array((z * weights_on_z).sum(dim=-1)).T
        terms.mlps[layer][rows] = to_array((end[Site("mlp_out", layer)] * direction).sum(dim=-1))
        if attention.b_O is not None:
            terms.attention_bias[layer][rows] = to_array(direction @ attention.b_O.float())


def readout_direction(
    model: LabModel, final: Float[Tensor, "row d_model"], tokens: Int[Tensor, "row"]
) -> tuple[Float[Tensor, "row d_model"], Float[Tensor, "row"]]:
    """Return direction and constant of a token's logit less the mean logit: direction · residual stream + constant.

    Args:
        model: The model.
        final: The residual stream after the last layer, whose scale the final norm keeps.
        tokens: The token of each row.

    """
    bridge = model.bridge
    unembedding = bridge.W_U.float()
    direction = (unembedding[:, tokens] - unembedding.mean(dim=1, keepdim=True)).T
    constant = bridge.b_U[tokens].float() - bridge.b_U.float().mean()
    kind = bridge.cfg.normalization_type
    if kind is None:
        return direction, constant
    weight = getattr(bridge.ln_final, "weight", None)
    bias = getattr(bridge.ln_final, "bias", None)
    if bias is not None:
        constant = constant + direction @ bias.float()
    if weight is not None:
        direction = direction * (weight.float() + (1.0 if bridge.cfg.rmsnorm_uses_offset else 0.0))
    if str(kind).startswith("LN"):  # the norm subtracts the stream's mean; its transpose subtracts the direction's
        direction = direction - direction.mean(dim=-1, keepdim=True)
        final = final - final.mean(dim=-1, keepdim=True)
    scale = (final.square().mean(dim=-1, keepdim=True) + bridge.cfg.eps).sqrt()
    return direction / scale, constant
