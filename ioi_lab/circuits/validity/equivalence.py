"""Whether a circuit scores above the whole model as often as below it (Shi et al. 2024, arXiv 2410.13032)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from ioi_lab.circuits.validity.evaluation import Evaluation, Outcome
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.stats.discoveries import ROUNDING
from ioi_lab.stats.metrics import Array

IDEAL: Final = 0.5
PUBLISHED_IOI: Final = 0.24
"""The share of prompts on which the IOI circuit of Wang et al. 2022 scores above GPT-2 small (Shi et al. 2024)."""

TOLERANCE: Final = 0.1
"""The greatest deviation of the share from 1/2 that still counts as equivalent."""


@dataclass(frozen=True)
class Equivalence:
    """The logit differences of a circuit and of the whole model, prompt by prompt."""

    above: Estimate
    """The share of prompts on which the circuit's is larger, with one row; equal ones count half."""

    difference: Estimate
    """The mean difference in logits, with one row."""

    @property
    def outcome(self) -> Outcome:
        """For the claim if the whole interval is within `TOLERANCE` of 1/2, against it if it excludes 1/2."""
        if not self.above.has_bounds:
            return "not testable"
        low, high = self.above.low[0], self.above.high[0]
        if max(abs(low - IDEAL), abs(high - IDEAL)) <= TOLERANCE:
            return "holds"
        return "not shown" if low <= IDEAL <= high else "fails"


def equivalence(evaluation: Evaluation, circuit: Float[Array, "1 prompt"]) -> Equivalence:
    """Compare the logit differences of a circuit with those of the whole model."""
    difference = circuit - evaluation.whole
    above = np.where(np.abs(difference) <= ROUNDING, IDEAL, difference > 0)
    bootstrap = evaluation.runner.engine.bootstrap
    return Equivalence(bootstrap.share(above), bootstrap.mean(difference))
