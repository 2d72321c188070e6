"""Norms as affine maps: with the scale held at its value in a pass, a norm is linear in its input, but for its bias."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

_EPSILONS = ("eps", "variance_epsilon", "epsilon")


@dataclass(frozen=True, eq=False)
class HeldNorm:
    """A LayerNorm or RMSNorm whose scale is held at that of one input per row."""

    scale: Float[Tensor, "row 1"]
    centred: bool
    """Whether the mean is subtracted first, as LayerNorm does."""

    weight: Float[Tensor, "d_model"] | None
    bias: Float[Tensor, "d_model"] | None

    @classmethod
    def at(cls, norm: Any, stream: Float[Tensor, "row d_model"]) -> Self | None:
        """Return a norm of TransformerBridge, held at its inputs; None if the model has no such norm."""
        module = getattr(norm, "original_component", None)
        if module is None or isinstance(module, torch.nn.Identity):
            return None
        centred = not norm.uses_rms_norm
        eps = next((getattr(module, name) for name in _EPSILONS if hasattr(module, name)), norm.config.eps)
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        varying = _centred(stream) if centred else stream
        return cls(
            scale=(varying.square().mean(dim=-1, keepdim=True) + eps).sqrt(),
            centred=centred,
            weight=None if weight is None else weight.float() + (1.0 if norm.uses_weight_offset else 0.0),
            bias=None if bias is None else bias.float(),
        )

    def __call__(self, stream: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """Return the output for other inputs, at the held scale."""
        normed = (_centred(stream) if self.centred else stream) / self.scale
        normed = normed if self.weight is None else normed * self.weight
        return normed if self.bias is None else normed + self.bias

    def pulled_back(self, direction: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """Return the direction of the input that a direction of the output reads: the transpose of the map."""
        direction = direction if self.weight is None else direction * self.weight
        return (_centred(direction) if self.centred else direction) / self.scale

    def constant(self, direction: Float[Tensor, "row d_model"]) -> Float[Tensor, "row"]:
        """Return what the norm's bias writes along a direction of the output."""
        return direction.new_zeros(len(direction)) if self.bias is None else direction @ self.bias


HeldNorms = Sequence[tuple[HeldNorm | None, HeldNorm | None]]
"""By layer, the norms on the residual stream after the attention and after the MLP."""


def _centred(values: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
    return values - values.mean(dim=-1, keepdim=True)
