"""Readouts of edited runs → logit difference, recovery, probabilities, KL, with bootstrap intervals over prompts.

All arrays are `[edit_set, prompt]`; all logits and probabilities are at END. Nothing here knows of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Readout:
    """What is read from each edited run; None for what was not read. KL is KL(base ‖ edited) in nats.

    `logit_diff` is logit(answer) − logit(distractor).
    """

    logit_diff: Float[Array, "edit_set prompt"]
    answer_logit: Float[Array, "edit_set prompt"] | None = None
    distractor_logit: Float[Array, "edit_set prompt"] | None = None
    p_answer: Float[Array, "edit_set prompt"] | None = None
    p_distractor: Float[Array, "edit_set prompt"] | None = None
    kl: Float[Array, "edit_set prompt"] | None = None

    @classmethod
    def empty(cls, n_edit_sets: int, n_prompts: int, *, probabilities: bool = True) -> Self:
        """A readout to be filled, NaN where it has not been; with p_answer, p_distractor and kl, or without."""
        names = [field.name for field in fields(cls)][: None if probabilities else 3]
        return cls(**{name: np.full((n_edit_sets, n_prompts), np.nan) for name in names})

    def write(self, where: tuple[Any, ...], **values: Array) -> None:
        """Fill in a part, given by an index, of what is read."""
        for name, value in values.items():
            getattr(self, name)[where] = value

    @property
    def correct(self) -> Float[Array, "edit_set prompt"]:
        """1 where the answer's logit is above the distractor's, else 0; its mean is the accuracy."""
        return (self.logit_diff > 0).astype(np.float64)

    @property
    def largest_logit(self) -> float:
        """The largest size of a logit that was read, by which rounding is measured."""
        pair = (self.answer_logit, self.distractor_logit)
        return max((float(np.abs(logits).max()) for logits in pair if logits is not None), default=0.0)

    def is_finite(self) -> bool:
        """Whether every value has been filled with a finite number."""
        return not self.not_finite().any()

    def not_finite(self) -> NDArray[np.bool_]:
        """Where some value is not a finite number: `[edit_set, prompt]`."""
        bad: NDArray[np.bool_] = np.logical_or.reduce([~np.isfinite(values) for values in self._arrays().values()])
        return bad

    def select(self, rows: slice | Sequence[int]) -> Self:
        """Some of the edit sets."""
        return type(self)(**{name: values[rows] for name, values in self._arrays().items()})

    def _arrays(self) -> dict[str, Array]:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in arrays.items() if values is not None}
