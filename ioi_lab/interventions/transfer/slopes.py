"""The slopes of vectors in one layer, and how certain they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from ioi_lab.engine.engine import Engine
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.metrics import Array
from ioi_lab.stats.responses import Response, slopes
from ioi_lab.steering.methods import Vector
from ioi_lab.transfer.refits import Refits
from ioi_lab.transfer.vectors import NativeVectors


def slope_scales(response: Response) -> Float[Array, "scale"]:
    """Return the scales of the linear range whose opposite is in it too, or the whole range if only 0 is left.

    Over such scales, effects that do not depend on the sign of the scale cancel: any large enough step away from the
    model's own activations lowers the logit difference, whatever its direction.
    """
    scales = response.linear_scales
    symmetric = scales[np.isin(-scales, scales)]
    return symmetric if len(symmetric) > 1 else scales


def slopes_over(response: Response, scales: Float[Array, "scale"]) -> Float[Array, "prompt"]:
    """Return the slope of each prompt over some of the scales of a response."""
    return slopes(scales, response.values[np.isin(response.scales, scales)])


@dataclass(frozen=True)
class SlopeMeter:
    """Steers the target's held-out prompts in one layer, at ascending scales, of which one is 0."""

    target: NativeVectors
    layer: int
    scales: Float[Array, "scale"]

    def slopes(self, vectors: Sequence[Vector]) -> Float[Array, "vector prompt"]:
        """Return the slope of the logit difference of each prompt per unit of scale, of all vectors in one run."""
        engine, moved = self._engine, self.scales != 0
        if not moved.any() or not vectors:
            return np.zeros((len(vectors), len(engine.prompts)))
        scales = self.scales[moved].tolist()
        plan = [edits for vector in vectors for edits in self.target.edits(vector, self.layer, scales)]
        steered = engine.run(plan, "clean").logit_diff.reshape(len(vectors), len(scales), -1)
        responses = np.empty((len(vectors), len(self.scales), steered.shape[-1]))
        responses[:, moved], responses[:, ~moved] = steered, engine.baseline("clean").logit_diff[0]
        return np.stack([slopes(self.scales, response) for response in responses])

    @cached_property
    def _engine(self) -> Engine:
        """An engine that unembeds answer and distractor alone, which is most of the work of many edits at END."""
        held_out = self.target.on_prompts.held_out
        return Engine(held_out.model, held_out.prompts, held_out.memory_gb, "logit_diff", held_out.seed)


@dataclass(frozen=True)
class RefitSpread:
    """Standard deviations over vectors that were made from bootstrap samples of the training prompts."""

    n_prompts: int
    """The number of training prompts."""

    native_slope: float
    slope: float
    """The standard deviation of the carried vector's slope."""

    slope_at_native_norm: float
    share: float
    share_at_native_norm: float

    @classmethod
    def of(cls, refits: Refits, meter: SlopeMeter, n_prompts: int) -> RefitSpread:
        """Steer with the vectors of all refits."""
        parts = (refits.native, refits.carried, refits.at_native_norm)
        slope = meter.slopes([vector for part in parts for vector in part]).mean(axis=1)
        native, carried, at_native_norm = slope.reshape(len(parts), -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            samples = (native, carried, at_native_norm, carried / native, at_native_norm / native)
        return cls(n_prompts, *(float(sample.std(ddof=1)) for sample in samples))

    def widened(self, estimate: Estimate, spread: float) -> Estimate:
        """Return the estimate with intervals that include a spread over refits.

        The two halves of the prompts are independent: the squares of their distances to the bounds are added (Zou &
        Donner 2008). A spread that is not known leaves the bounds unknown.
        """
        if not np.isfinite(spread) or self.n_prompts < 2:
            unknown = np.full_like(estimate.value, np.nan)
            return Estimate(estimate.value, unknown, unknown)
        half = float(stdtrit(self.n_prompts - 1, 0.975)) * spread
        low = estimate.value - np.hypot(estimate.value - estimate.low, half)
        return Estimate(estimate.value, low, estimate.value + np.hypot(estimate.high - estimate.value, half))
