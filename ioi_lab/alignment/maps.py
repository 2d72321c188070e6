"""Affine maps from one residual stream to another, and the methods that fit them to means and covariances.

x and y are the activations of two models at the same positions; a map is fitted to send x to y. scikit-learn has ridge
regression and PCA for activations in memory; these are the same closed forms on moments, for activations that do not
fit there (tests compare them).

A map method is one function, registered where it is written::

    @map_method("scaled_shift")
    def scaled_shift(moments: PairMoments, settings: FitSettings) -> AffineMap: ...

torch is imported inside the functions, since configs check the names of the methods before torch is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from jaxtyping import Float

from ioi_lab.errors import LabError
from ioi_lab.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from ioi_lab.alignment.moments import PairMoments

PENALTIES: Final = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""The ridge penalties that cross-validation chooses from, in mean variances of x."""

_ROUNDING: Final = 1e-13

Anchors = tuple["Tensor", "Tensor"]
"""The activations of both models, x and y, at the same positions, in memory."""


@dataclass(frozen=True)
class AffineMap:
    """The map y ≈ x · matrix + bias."""

    matrix: Float[Tensor, "d_x d_y"]
    bias: Float[Tensor, "d_y"]

    def __call__(self, x: Float[Tensor, "... d_x"]) -> Float[Tensor, "... d_y"]:
        """Return the images of activations."""
        return x @ self.matrix + self.bias

    def direction(self, vector: Float[Tensor, "... d_x"]) -> Float[Tensor, "... d_y"]:
        """Return the image of a direction, or of a difference of activations, to which the bias does not apply."""
        return vector @ self.matrix

    @property
    def size(self) -> int:
        """The number of parameters."""
        return self.matrix.numel() + self.bias.numel()

    @property
    def d_out(self) -> int:
        """The width of the model that is mapped to."""
        return len(self.bias)


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues and eigenvectors (columns) of the covariance of x, shared by all maps from one layer."""

    values: Float[Tensor, "d_x"]
    vectors: Float[Tensor, "d_x d_x"]
    rounding: float
    """An upper bound on the variance that rounding can add to a direction in which x is constant."""

    @classmethod
    def of(cls, moments: PairMoments) -> Spectrum:
        """Return the spectrum of x at the positions of `moments`."""
        import torch

        values, vectors = torch.linalg.eigh(moments.xx)
        squares = moments.xx.diagonal().mean() + moments.mean_x.square().mean()
        return cls(values.clamp_min(0), vectors, _ROUNDING * float(squares))

    def damped(self, penalty: float) -> Float[Tensor, "d_x"]:
        """Return the eigenvalues plus `penalty` times their mean; above 0 even for a layer that is constant."""
        import torch

        return self.values + penalty * self.values.mean() + max(self.rounding, torch.finfo(self.values.dtype).tiny)


@dataclass(frozen=True)
class FitSettings:
    """The settings of a fit that a map method may use in addition to the moments."""

    rank: int = 16
    """The config key `alignment.rank`."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """The keys below `alignment.options`, for a map method of your own."""

    penalty: float = 0.0
    """The cross-validated ridge penalty in mean variances of x; 0 for a method that is not penalized."""

    spectrum: Spectrum | None = None
    """The spectrum of x, if it is known already."""

    anchors: Anchors | None = None
    """The activations x `[anchor, d_x]` and y `[anchor, d_y]` at one position of each of `alignment.anchors` texts."""

    def shuffled(self) -> FitSettings:
        """Return the settings with the anchors of y moved to other texts, for the control of shuffled pairs."""
        return self if self.anchors is None else replace(self, anchors=(self.anchors[0], self.anchors[1].roll(1, 0)))

    def spectrum_of(self, moments: PairMoments) -> Spectrum:
        """Return the spectrum of x, computed from `moments` if it is not known already."""
        return self.spectrum or Spectrum.of(moments)


FitFunction = Callable[["PairMoments", FitSettings], AffineMap]
"""Fits a map to the moments of a pair of layers."""


Training = Literal["stitching", "activations"] | None
"""What a map is trained on: the behaviour of the stitched model, or activations; None for a closed form."""


@dataclass(frozen=True)
class MapMethod:
    """A map method as it is registered."""

    fit: FitFunction
    is_penalized: bool
    """Whether the method uses a ridge penalty, which is then chosen by cross-validation."""

    title_form: str
    """The title in figures, such as `rank-{rank} map`."""

    training: Training = None
    """What the fitted map is trained on further, or None: see `trained_maps`."""

    maps_directions: bool = True
    """Whether the fitted maps are affine, so that a direction is mapped whatever activation it is added to."""


MAP_METHODS: Final[Registry[MapMethod]] = Registry("map method")
"""The methods that `alignment.method` can name."""


def map_method(
    name: str,
    *,
    is_penalized: bool = False,
    title: str | None = None,
    training: Training = None,
    maps_directions: bool = True,
) -> Callable[[FitFunction], FitFunction]:
    """Return a decorator that registers a function as a map method.

    Args:
        name: The name in configs.
        is_penalized: Whether the method uses `FitSettings.penalty`, which is then chosen by cross-validation.
        title: The title in figures, in which `{rank}` stands for `alignment.rank`; by default made of the name.
        training: What the fitted map is trained on further.
        maps_directions: Whether the maps are affine.

    """

    def register(fit: FitFunction) -> FitFunction:
        title_form = title or f"{name.replace('_', ' ')} map"
        MAP_METHODS.register(name)(MapMethod(fit, is_penalized, title_form, training, maps_directions))
        return fit

    return register


@map_method("ridge", is_penalized=True)
def ridge(moments: PairMoments, settings: FitSettings) -> AffineMap:
    """Return the map of ridge regression with an intercept.

    The penalty is in mean variances of x, per position: λ = penalty · tr(xx) / d_x.
    """
    spectrum = settings.spectrum_of(moments)
    matrix = spectrum.vectors @ ((spectrum.vectors.T @ moments.xy) / spectrum.damped(settings.penalty)[:, None])
    return _through_the_means(matrix, moments)


@map_method("procrustes")
def procrustes(moments: PairMoments, settings: FitSettings) -> AffineMap:
    """Return the best orthogonal map up to a scale, by the SVD of the covariance (Schönemann 1966).

    If widths differ, both sides are reduced to the smaller width by PCA, and the image lies in that subspace.
    """
    import torch

    rank = min(moments.xy.shape)
    into_x, into_y = (_principal_axes(covariance, rank) for covariance in (moments.xx, moments.yy))
    left, singular, right = torch.linalg.svd(into_x.T @ moments.xy @ into_y)
    scale = singular.sum() / torch.trace(into_x.T @ moments.xx @ into_x)
    return _through_the_means(scale * into_x @ left @ right @ into_y.T, moments)


@map_method("lowrank", is_penalized=True, title="rank-{rank} map")
def lowrank(moments: PairMoments, settings: FitSettings) -> AffineMap:
    """Return the best map of rank `settings.rank`: reduced-rank ridge regression.

    Method: Izenman 1975; Mukherjee and Zhu 2011.
    """
    import torch

    spectrum = settings.spectrum_of(moments)
    full = ridge(moments, FitSettings(penalty=settings.penalty, spectrum=spectrum)).matrix
    damped = moments.xx + settings.penalty * spectrum.values.mean() * torch.eye(len(moments.xx)).to(full)
    kept = _principal_axes(full.T @ damped @ full, settings.rank)
    return _through_the_means(full @ kept @ kept.T, moments)


@map_method("anchors", title="map by anchors")
def anchors(moments: PairMoments, settings: FitSettings) -> AffineMap:
    """Return the map that gives y the similarities to its anchors that x has to the same anchors.

    Relative representations (Moschella et al. 2022, arXiv 2209.15430): x is described by its cosines with anchors, the
    activations at shared positions; both sides are centred. The activation y that has these similarities is found by
    the pseudo-inverse (Maiorca et al. 2024, arXiv 2406.15057), with unit anchors A and B in the rows:
    ŷ = c · (BᵀB + λ)⁻¹ Bᵀ A x. Cosines leave the norm open; it is that of x times c. The lab's addition is that these
    two numbers, c and λ, have the least squared error over all positions: without λ, directions in which y hardly
    varies are amplified.
    """
    import torch

    if settings.anchors is None:
        raise LabError("alignment.method: got 'anchors', but this fit has no activations at anchors; expected 'ridge'")
    unit_x, unit_y = (
        torch.nn.functional.normalize(each - mean, dim=1)
        for each, mean in zip(settings.anchors, (moments.mean_x, moments.mean_y), strict=True)
    )
    values, vectors = torch.linalg.eigh(unit_y.T @ unit_y)
    cross = unit_x.T @ unit_y @ vectors
    best, best_gain = torch.zeros_like(moments.xy), 0.0
    for penalty in PENALTIES:
        matrix = (cross / (values.clamp_min(0) + penalty * values.mean())) @ vectors.T
        product, square = (matrix * moments.xy).sum(), (matrix * (moments.xx @ matrix)).sum()
        if float(square) > 0 and float(product.square() / square) > best_gain:
            best, best_gain = product / square * matrix, float(product.square() / square)
    return _through_the_means(best, moments)


@map_method("mean_shift")
def mean_shift(moments: PairMoments, settings: FitSettings) -> AffineMap:
    """Return the map y = x − mean(x) + mean(y): a control that assumes that both models share their axes.

    If widths differ, axes that only one model has are left out or filled with the mean.
    """
    import torch

    return _through_the_means(torch.eye(*moments.xy.shape).to(moments.xy), moments)


@map_method("affine_trained", is_penalized=True, title="affine map trained by stitching", training="stitching")
def affine_trained(moments: PairMoments, settings: FitSettings) -> AffineMap:
    """Return the map of ridge regression, from which the training starts.

    It is trained so that the target, with mapped activations in the place of its own, predicts what it predicts with
    its own: model stitching (Bansal et al. 2021, arXiv 2106.07682; Chen et al. 2025, arXiv 2506.06609).
    """
    return ridge(moments, settings)


@map_method("mlp", is_penalized=True, title="map with a hidden layer", training="activations", maps_directions=False)
def mlp(moments: PairMoments, settings: FitSettings) -> AffineMap:
    """Return the map of ridge regression, which a trained `MlpMap` takes the place of; its controls stay affine."""
    return ridge(moments, settings)


def _through_the_means(matrix: Float[Tensor, "d_x d_y"], moments: PairMoments) -> AffineMap:
    return AffineMap(matrix, moments.mean_y - moments.mean_x @ matrix)


def _principal_axes(covariance: Float[Tensor, "d d"], count: int) -> Float[Tensor, "d count"]:
    import torch

    axes: Tensor = torch.linalg.eigh(covariance).eigenvectors[:, -count:]
    return axes
