"""Similarities of two sets of activations that need no map: linear CKA, plain and debiased, with a permutation null.

x and y are activations `[row, d]` of two models at the same positions, one position per text. Plain CKA is
tr(K L) / (‖K‖ ‖L‖), with the centred K = X Xᵀ and L = Y Yᵀ (Kornblith et al. 2019, arXiv 1905.00414). It is far above 0
for unrelated activations if there are not many more rows than dimensions (Murphy et al. 2024, arXiv 2405.01012). The
debiased one puts the unbiased estimator of HSIC in the place of each of the three terms (Song et al. 2012; Nguyen et
al. 2021, arXiv 2010.15327): its expectation is near 0 for unrelated activations, and it may be below 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ioi_lab.stats.metrics import Array

PERMUTATIONS: Final = 500
"""The number of permutations of the rows of y under which the null distribution is taken."""

MAX_ROWS: Final = 500
"""The greatest number of rows that are used: Gram matrices have as many rows and columns, and are permuted."""

MIN_ROWS: Final = 8
"""The least number of rows with a similarity."""

_GROUPS: Final = 20
"""The number of groups of rows that the jackknife leaves out, one at a time."""

_TINY: Final = 1e-300
"""Keeps the similarities of a layer that is constant from being NaN."""

_T_95: Final = 2.093
"""The 97.5 % quantile of Student's t with `_GROUPS` − 1 degrees of freedom."""


@dataclass(frozen=True)
class Similarities:
    """The similarities of each layer of x (rows) and each layer of y (columns). NaN for fewer than `MIN_ROWS` rows."""

    debiased: Float[Array, "x_layer y_layer"]
    low: Float[Array, "x_layer y_layer"]
    high: Float[Array, "x_layer y_layer"]
    """The bounds of 95 % intervals of `debiased` over texts, by a jackknife over groups of texts."""

    null_high: Float[Array, "x_layer y_layer"]
    """The 97.5 % quantile of the debiased CKA over permutations of the rows of y."""

    p_value: Float[Array, "x_layer y_layer"]
    """The share of permutations, and of the order as it is, with a debiased CKA that is at least as large."""

    plain: Float[Array, "x_layer y_layer"]
    plain_by_chance: Float[Array, "x_layer y_layer"]
    """The mean of the plain CKA over all permutations of the rows of y."""

    n_rows: int
    """The number of texts, each with one position."""


_ARRAYS: Final = tuple(field.name for field in fields(Similarities) if field.name != "n_rows")


def similarities(
    x: Float[Tensor, "row x_layer d_x"],
    y: Float[Tensor, "row y_layer d_y"],
    seed: int,
    permutations: int = PERMUTATIONS,
) -> Similarities:
    """Return the similarities of all layers of x and y; `seed` draws the permutations, the same for all pairs."""
    x, y, n = x[:MAX_ROWS], y[:MAX_ROWS], min(len(x), MAX_ROWS)
    if n < MIN_ROWS:
        unknown = np.full((x.shape[1], y.shape[1]), np.nan)
        return Similarities(**dict.fromkeys(_ARRAYS, unknown), n_rows=n)
    grams = [[_gram(layer) for layer in side.unbind(1)] for side in (x.double().cpu(), y.double().cpu())]
    first, second = (torch.stack([u_centred(gram) for gram in side]) for side in grams)
    debiased = _cosines(first, second)
    norms = first.flatten(1).norm(dim=1)[:, None] * second.flatten(1).norm(dim=1)
    null = _permuted(first, second, seed, permutations) / norms.clamp_min(_TINY)
    centred = [torch.stack([_centred(gram) for gram in side]) for side in grams]
    traces = [side.diagonal(dim1=1, dim2=2).sum(dim=1) for side in centred]
    sizes = [side.flatten(1).norm(dim=1) for side in centred]
    chance = traces[0][:, None] * traces[1] / (sizes[0][:, None] * sizes[1]).clamp_min(_TINY) / (n - 1)
    error = _jackknife_error(grams)
    return Similarities(
        debiased=debiased.numpy(),
        low=(debiased - _T_95 * error).numpy(),
        high=(debiased + _T_95 * error).numpy(),
        null_high=torch.quantile(null, 0.975, dim=0).numpy(),
        p_value=((1 + (null >= debiased).sum(0)).double() / (1 + permutations)).numpy(),
        plain=_cosines(*centred).numpy(),
        plain_by_chance=chance.numpy(),
        n_rows=n,
    )


def _permuted(
    first: Float[Tensor, "x_layer row row"], second: Float[Tensor, "y_layer row row"], seed: int, permutations: int
) -> Float[Tensor, "permutation x_layer y_layer"]:
    """Return Σ A B of all pairs under permutations of the rows and columns of B."""
    generator = torch.Generator().manual_seed(seed)
    one, other = first.flatten(1).float(), second.float()  # half the memory and time; no less exact than 500 draws
    products = torch.empty(permutations, len(first), len(second), dtype=torch.float64)
    for index in range(permutations):
        order = torch.randperm(second.shape[1], generator=generator)
        for layer, gram in enumerate(other):
            products[index, :, layer] = one @ gram[order][:, order].flatten()
    return products


def u_centred(gram: Float[Tensor, "row row"]) -> Float[Tensor, "row row"]:
    """Return the U-centred Gram matrix: zero on the diagonal, rows that sum to 0 (Székely & Rizzo 2014).

    The mean of the products of two such matrices over pairs of rows, Σ A B / (n (n − 3)), is the unbiased estimator of
    HSIC of Song et al. 2012, equation 5; permuting rows and columns of one of them is permuting its activations.
    """
    n = len(gram)
    without = gram - torch.diag(gram.diagonal())
    sums = without.sum(dim=1) / (n - 2)
    centred = without - sums[:, None] - sums + without.sum() / ((n - 1) * (n - 2))
    return centred - torch.diag(centred.diagonal())


def _gram(activations: Float[Tensor, "row d"]) -> Float[Tensor, "row row"]:
    centred = activations - activations.mean(dim=0)  # changes no result, and keeps numbers small
    return centred @ centred.T


def _centred(gram: Float[Tensor, "row row"]) -> Float[Tensor, "row row"]:
    return gram - gram.mean(dim=0) - gram.mean(dim=1, keepdim=True) + gram.mean()


def _cosines(first: Float[Tensor, "x_layer row row"], second: Float[Tensor, "y_layer row row"]) -> Tensor:
    """Return Σ A B / √(Σ A² Σ B²) of all pairs; 0 for a layer that is constant."""
    one, other = first.flatten(1), second.flatten(1)
    sizes = one.norm(dim=1)[:, None] * other.norm(dim=1)
    return torch.where(sizes > 0, one @ other.T / sizes, 0.0)


def _jackknife_error(grams: Sequence[Sequence[Tensor]]) -> Float[Tensor, "x_layer y_layer"]:
    """Return the standard error of the debiased CKA, by leaving out one group of texts after another."""
    n = len(grams[0][0])
    groups = torch.arange(n) % _GROUPS
    without = []
    for group in range(_GROUPS):
        kept = groups != group
        first, second = (torch.stack([u_centred(gram[kept][:, kept]) for gram in side]) for side in grams)
        without.append(_cosines(first, second))
    values = torch.stack(without)
    squares = (values - values.mean(dim=0)).square().sum(dim=0)
    return ((_GROUPS - 1) / _GROUPS * squares).sqrt()
