"""Maps with a hidden layer: the non-linear baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Float

from ioi_lab.alignment.maps import AffineMap

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MlpMap:
    """The map y ≈ relu(x · matrix + bias) · out_matrix + out_bias, with one hidden layer.

    Oozeer et al. 2025 (arXiv 2503.04429) map activations by such a network, trained on their mean squared error. A
    direction has no image by itself, since the image of a difference depends on the activation that it is added to.
    """

    matrix: Float[Tensor, "d_x hidden"]
    bias: Float[Tensor, "hidden"]
    out_matrix: Float[Tensor, "hidden d_y"]
    out_bias: Float[Tensor, "d_y"]

    def __call__(self, x: Float[Tensor, "... d_x"]) -> Float[Tensor, "... d_y"]:
        """Return the images of activations."""
        return (x @ self.matrix + self.bias).relu() @ self.out_matrix + self.out_bias

    def difference(self, vector: Float[Tensor, "... d_x"], at: Float[Tensor, "... d_x"]) -> Float[Tensor, "... d_y"]:
        """Return the change of the image if a vector is added to the activation `at`: f(at + vector) − f(at)."""
        return self(at + vector) - self(at)

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(tensor.numel() for tensor in vars(self).values())

    @property
    def d_out(self) -> int:
        """The width of the model that is mapped to."""
        return len(self.out_bias)


ActivationMap = AffineMap | MlpMap
"""A map of activations of any form; only an `AffineMap` maps directions too."""
