"""Readouts of edited passes: logits, logit difference, probabilities and KL at END, `[edit_set, prompt]`.

Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

# Not NDArray[…]: from NumPy 2.5 on, it is an alias object on Python 3.12, which jaxtyping does not take in aliases.
Array = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]

Extra = Literal["kl_clean", "rank"]
"""Values that are read on demand alone."""


@dataclass(frozen=True, eq=False)
class Readout:
    """The values that are read from each edited pass at END; None for those that were not read.

    Two readouts are equal only if they are one object.

    A set of answers counts as one outcome: its logit is log Σ exp(logit), its probability the sum. So does a set of
    distractors.
    """

    logit_diff: Float[Array, "edit_set prompt"]
    """logit(answer) − logit(distractor)."""

    answer_logit: Float[Array, "edit_set prompt"] | None = None
    distractor_logit: Float[Array, "edit_set prompt"] | None = None
    p_answer: Float[Array, "edit_set prompt"] | None = None
    p_distractor: Float[Array, "edit_set prompt"] | None = None
    kl: Float[Array, "edit_set prompt"] | None = None
    """KL(base pass ‖ edited pass) in nats."""

    kl_clean: Float[Array, "edit_set prompt"] | None = None
    """KL(clean pass ‖ edited pass) in nats; read on demand."""

    rank: Float[Array, "edit_set prompt"] | None = None
    """1 if the answer is the likeliest token; of a set, the rank of the likeliest answer; read on demand."""

    @classmethod
    def empty(
        cls, n_edit_sets: int, n_prompts: int, *, probabilities: bool = True, extra: Sequence[Extra] = ()
    ) -> Self:
        """Return a readout of NaN, to be filled; p_answer, p_distractor and kl are None without `probabilities`."""
        names = ["logit_diff", "answer_logit", "distractor_logit"]
        names += ["p_answer", "p_distractor", "kl", *extra] if probabilities else []
        return cls(**{name: np.full((n_edit_sets, n_prompts), np.nan) for name in names})

    def write(self, where: tuple[Any, ...], **values: Array) -> None:
        """Write values, by the names of their fields, at an index of the arrays."""
        for name, value in values.items():
            getattr(self, name)[where] = value

    @property
    def correct(self) -> Float[Array, "edit_set prompt"]:
        """1 if the answer's logit is above the distractor's, else 0; the mean is the accuracy.

        Of sets: 1 if the answers together are more probable than the distractors together.
        """
        return (self.logit_diff > 0).astype(np.float64)

    @property
    def largest_logit(self) -> float:
        """The largest absolute value of the logits that were read, to which rounding is proportional."""
        pair = (self.answer_logit, self.distractor_logit)
        return max((float(np.abs(logits).max()) for logits in pair if logits is not None), default=0.0)

    def is_finite(self) -> bool:
        """Return whether every value is a finite number."""
        return not self.not_finite().any()

    def not_finite(self) -> Bool[NDArray[np.bool_], "edit_set prompt"]:
        """Return whether some value of each edit set and prompt is not a finite number."""
        bad: NDArray[np.bool_] = np.logical_or.reduce([~np.isfinite(values) for values in self._arrays().values()])
        return bad

    def select(self, rows: slice | Sequence[int]) -> Self:
        """Return the readout of some of the edit sets."""
        return type(self)(**{name: values[rows] for name, values in self._arrays().items()})

    def _arrays(self) -> dict[str, Array]:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in arrays.items() if values is not None}
