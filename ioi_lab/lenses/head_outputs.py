"""What the heads of a layer add to the residual stream, each by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import torch
from jaxtyping import Float
from torch import Tensor

from ioi_lab.lenses.held_norms import HeldNorm

if TYPE_CHECKING:
    from ioi_lab.models.loading import LabModel

_FIT: Final = 1e-3
"""The largest distance of the heads' sum from what the model adds, as a share of its largest value."""


@dataclass(frozen=True, eq=False)
class HeadOutputs:
    """What each head of a layer adds to the residual stream.

    It is z · W_O, times a factor in some models (Granite). If a norm follows the attention (Gemma, OLMo 2), it is the
    head's part of the norm's output: the norm's scale is that of the pass in which the heads write.
    """

    weight: Float[Tensor, "head d_head d_model"]
    post_norm: Any
    """The norm of TransformerBridge on the attention's output, or None."""

    gain: float
    constant: Float[Tensor, "d_model"]
    """What the attention adds in addition to its heads: the same in every pass."""

    @classmethod
    def of(
        cls,
        model: LabModel,
        layer: int,
        z: Float[Tensor, "*batch head d_head"],
        added: Float[Tensor, "*batch d_model"],
        refuse: Callable[[str], NoReturn],
    ) -> Self:
        """Return the outputs of a layer, found out from its `z` and `attn_out` in some pass.

        `refuse` raises the error for a layer whose attention is no sum of what its heads write.
        """
        attention = model.bridge.blocks[layer].attn
        post_norm = getattr(model.bridge.blocks[layer], "ln1_post", None)
        added = added.float()
        weight = attention.W_O.float().contiguous()
        bias = torch.zeros(model.shape.d_model, device=z.device) if attention.b_O is None else attention.b_O.float()
        constant = bias
        if (held := HeldNorm.at(post_norm, bias[None])) is not None:
            if bias.any():
                refuse(f"a norm follows the biases of the attention in layer {layer}")
            constant = torch.zeros_like(bias) if held.bias is None else held.bias
        written = cls(weight, post_norm, 1.0, constant)(z).sum(dim=0) + constant
        gain = float((written * added).sum() / written.square().sum()) if written.any() else 1.0
        gain = 1.0 if abs(gain - 1) < _FIT else gain
        tolerance = max(_FIT, 10 * model.rounding) * added.abs().max()
        if (gain * written - added).abs().max() > tolerance:
            refuse(f"the attention of layer {layer} writes more than the sum of its heads' z times W_O")
        return cls(weight, post_norm, gain, gain * constant)

    @property
    def share_a_norm(self) -> bool:
        """Whether what a head writes depends on the other heads of its layer too, through the norm that follows."""
        return getattr(self.post_norm, "original_component", None) is not None

    def __call__(self, z: Float[Tensor, "*batch head d_head"]) -> Float[Tensor, "head *batch d_model"]:
        """Return what the heads write, given their z."""
        by_head = z.float().flatten(0, -3).transpose(0, 1)
        written: Tensor = torch.bmm(by_head, self.weight).unflatten(1, z.shape[:-2])
        norm = HeldNorm.at(self.post_norm, written.sum(dim=0)) if self.share_a_norm else None
        if norm is not None:
            written = HeldNorm(norm.scale, norm.centred, norm.weight, None)(written)
        return written if self.gain == 1.0 else self.gain * written
