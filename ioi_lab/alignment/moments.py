"""Sums over positions from which every map can be fitted: their size does not depend on the number of positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Sums of two models' activations x and y by layer, and of their products by pair of layers, in float64.

    `source` is Σx, `source_products` Σxxᵀ, `products` Σxyᵀ. The names of the fields are those of the tensors in
    checkpoints.
    """

    count: Float[Tensor, ""]
    source: Float[Tensor, "source_layer d_source"]
    target: Float[Tensor, "target_layer d_target"]
    source_products: Float[Tensor, "source_layer d_source d_source"]
    target_products: Float[Tensor, "target_layer d_target d_target"]
    products: Float[Tensor, "source_layer d_source target_layer d_target"]

    @classmethod
    def zeros(cls, source: tuple[int, int], target: tuple[int, int], device: torch.device | str = "cpu") -> Self:
        """Return sums over no positions; `source` and `target` are the number of layers and the width of a model."""
        shapes = ((), source, target, (*source, source[1]), (*target, target[1]), (*source, *target))
        return cls(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    @staticmethod
    def bytes(source: tuple[int, int], target: tuple[int, int]) -> int:
        """Return the size in bytes of the sums for this many layers of these widths."""
        (n, d), (m, e) = source, target
        return 8 * (1 + n * d + m * e + n * d * d + m * e * e + n * d * m * e)

    def add(
        self,
        source: Float[Tensor, "position source_layer d_source"],
        target: Float[Tensor, "position target_layer d_target"],
    ) -> None:
        """Add the activations of further positions, in place."""
        self.count.add_(len(source))
        self.source.add_(source.sum(dim=0))
        self.target.add_(target.sum(dim=0))
        self.source_products.add_(torch.einsum("pld,ple->lde", source, source))
        self.target_products.add_(torch.einsum("pld,ple->lde", target, target))
        self.products.add_((source.flatten(1).T @ target.flatten(1)).reshape(self.products.shape))

    def pair(self, source_layer: int, target_layer: int, *, backward: bool = False) -> PairMoments:
        """Return the means and covariances of a pair of layers, given by index.

        `backward`: x is the target's activation and y the source's.
        """
        mean_x, mean_y = self.source[source_layer] / self.count, self.target[target_layer] / self.count
        pair = PairMoments(
            count=float(self.count),
            mean_x=mean_x,
            mean_y=mean_y,
            xx=self.source_products[source_layer] / self.count - torch.outer(mean_x, mean_x),
            yy=self.target_products[target_layer] / self.count - torch.outer(mean_y, mean_y),
            xy=self.products[source_layer, :, target_layer] / self.count - torch.outer(mean_x, mean_y),
        )
        return pair.turned if backward else pair


@dataclass(frozen=True)
class PairMoments:
    """The means of x and y over `count` positions, and their covariances (divided by the count)."""

    count: float
    mean_x: Float[Tensor, "d_x"]
    mean_y: Float[Tensor, "d_y"]
    xx: Float[Tensor, "d_x d_x"]
    yy: Float[Tensor, "d_y d_y"]
    xy: Float[Tensor, "d_x d_y"]

    @classmethod
    def of(cls, x: Float[Tensor, "position d_x"], y: Float[Tensor, "position d_y"]) -> PairMoments:
        """Return the moments of activations that are in memory."""
        moments = Moments.zeros((1, x.shape[1]), (1, y.shape[1]))
        moments.add(x.double()[:, None], y.double()[:, None])
        return moments.pair(0, 0)

    @property
    def turned(self) -> PairMoments:
        """The same moments with x and y exchanged."""
        return PairMoments(self.count, self.mean_y, self.mean_x, self.yy, self.xx, self.xy.T)

    def with_(self, part: PairMoments) -> PairMoments:
        """Return the moments over the positions of both."""
        return self._combined(part, part.count)

    def without(self, part: PairMoments) -> PairMoments:
        """Return the moments over the positions that are not in `part`."""
        return self._combined(part, -part.count)

    def _combined(self, part: PairMoments, weight: float) -> PairMoments:
        count = self.count + weight
        mean_x, mean_y, xx, yy, xy = (
            (self.count * own + weight * other) / count for own, other in zip(self._raw(), part._raw(), strict=True)
        )
        return PairMoments(
            count,
            mean_x,
            mean_y,
            xx - torch.outer(mean_x, mean_x),
            yy - torch.outer(mean_y, mean_y),
            xy - torch.outer(mean_x, mean_y),
        )

    def _raw(self) -> tuple[Tensor, ...]:
        """Return the means of x, of y and of their products."""
        x, y = self.mean_x, self.mean_y
        products = self.xx + torch.outer(x, x), self.yy + torch.outer(y, y), self.xy + torch.outer(x, y)
        return x, y, *products

    @property
    def cka(self) -> float:
        """The linear centred kernel alignment of x and y, from 0 to 1 (Kornblith et al. 2019, arXiv 1905.00414)."""
        return float(self.xy.square().sum() / (self.xx.norm() * self.yy.norm()))


def joined(parts: Sequence[PairMoments]) -> PairMoments:
    """Return the moments over the positions of all parts."""
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.with_(part)
    return whole
