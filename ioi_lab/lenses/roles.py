"""Criteria for the roles of attention heads in the IOI circuit: Wang et al. 2022 (arXiv 2211.00593).

Each role is a condition on measured scores with thresholds. It has to hold in ABBA prompts, which name the IO first,
and in BABA prompts, which name the S first: a head that attends to a position, rather than to a name, meets it in one
order only. In each order, the mean of a score has to reach its threshold, which says how large an effect must be, and
its 95 % interval over at least 8 prompts must exclude 0, which says that it is there. A score that was not measured is
not evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, get_args

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from pydantic import Field

from ioi_lab.config import LabConfig
from ioi_lab.stats.bootstrap import Estimate
from ioi_lab.tasks.ioi import Order
from ioi_lab.tasks.prompts import PromptPairs

Head = tuple[int, int]
"""A layer and a head."""

ORDERS: Final[tuple[Order, ...]] = get_args(Order)

Share = Annotated[float, Field(ge=0, le=1)]
Scores = Mapping[str, Estimate]
"""Scores by name, with a row per head: NaN for heads for which it was not measured."""


class Thresholds(LabConfig):
    """The least value of each score: an attention weight, or a share of names, of a logit, or of clean − corrupted."""

    pattern: Share = 0.25
    """Attention on repeated random tokens, and on the task's labels, for the first three roles."""

    end: Share = 0.2
    """Attention from END to a name."""

    copying: Share = 0.25
    """Share of the names that the OV circuit copies, or does the opposite of copying."""

    direct: Share = 0.03
    """Direct effect on the logit difference, as a share of it, and on a name's logit, as a share of the answer's."""

    queries: Share = 0.02
    """Share of the clean − corrupted gap that is lost with a head's path into the name movers' queries."""

    backup: Share = 0.03
    """Rise of the direct effect on the logit difference once the name movers are knocked out, as a share of it."""


Criterion = Callable[[Scores, Thresholds], Bool[np.ndarray[tuple[Any, ...], np.dtype[np.bool_]], "head"]]


def _by_pattern(name: str) -> Criterion:
    """Return the criterion of a role that needs attention of one kind on random tokens and in the task."""
    return lambda s, t: _reaches(s[f"{name}_random"], t.pattern) & _reaches(s[f"{name}_task"], t.pattern)


def _s_inhibition(s: Scores, t: Thresholds) -> Bool[NDArray[np.bool_], "head"]:
    """Attends from END to S2, and its path into the name movers' queries carries the preference for IO."""
    return _reaches(s["end_to_s2"], t.end) & _reaches(s["query_effect"], t.queries)


def _attends_to_io(s: Scores, t: Thresholds) -> Bool[NDArray[np.bool_], "head"]:
    """Attends from END to IO, and more than to S1 and S2 together."""
    return _reaches(s["end_to_io"], t.end) & _is_positive(s["end_to_io_minus_s"])


def _name_mover(s: Scores, t: Thresholds) -> Bool[NDArray[np.bool_], "head"]:
    """Attends to IO, copies names, and raises the logit difference."""
    return _attends_to_io(s, t) & _reaches(s["copying"], t.copying) & _reaches(s["direct_logit_diff"], t.direct)


def _negative_name_mover(s: Scores, t: Thresholds) -> Bool[NDArray[np.bool_], "head"]:
    """Attends to IO, does the opposite of copying, and lowers the logit difference."""
    lowers = _reaches(s["direct_logit_diff"].negated(), t.direct)
    return _attends_to_io(s, t) & _reaches(s["negative_copying"], t.copying) & lowers


def _subject_suppressor(s: Scores, t: Thresholds) -> Bool[NDArray[np.bool_], "head"]:
    """Attends from END to S, does the opposite of copying, and so lowers the logit of S and raises the difference.

    Wang et al. have no such role; the mechanism is copy suppression (McDougall et al. 2023, arXiv 2310.04625).
    """
    attends = _reaches(s["end_to_s"], t.end) & _is_positive(s["end_to_io_minus_s"].negated())
    suppresses = _reaches(s["negative_copying_s2"], t.copying) & _reaches(s["direct_distractor"].negated(), t.direct)
    return attends & suppresses & _reaches(s["direct_logit_diff"], t.direct)


def _backup(s: Scores, t: Thresholds) -> Bool[NDArray[np.bool_], "head"]:
    """Copies names and is not a name mover, but raises the logit difference once these are knocked out, and by more."""
    rises = _reaches(s["ablation_change"], t.backup) & _reaches(s["direct_after_ablation"], t.backup)
    return rises & _reaches(s["copying"], t.copying) & ~_name_mover(s, t)


def _reaches(score: Estimate, threshold: float) -> Bool[NDArray[np.bool_], "head"]:
    """Return whether each mean reaches the threshold and is above 0."""
    return _is_positive(score) & (np.nan_to_num(score.value) >= threshold)


def _is_positive(score: Estimate) -> Bool[NDArray[np.bool_], "head"]:
    """Return whether each interval is above 0; a score that is the same in all prompts has none and counts as it is."""
    is_constant = np.isfinite(score.value) & ~np.isfinite(score.low)
    return score.exceeds(0.0) | (is_constant & (np.nan_to_num(score.value) > 0))


NAME_MOVER: Final = "name mover"
S_INHIBITION: Final = "S-inhibition"
SUBJECT_SUPPRESSOR: Final = "subject suppressor"
ROLES: Final[Mapping[str, Criterion]] = {
    "previous token": _by_pattern("previous_token"),
    "duplicate token": _by_pattern("duplicate_token"),
    "induction": _by_pattern("induction"),
    S_INHIBITION: _s_inhibition,
    "negative name mover": _negative_name_mover,
    SUBJECT_SUPPRESSOR: _subject_suppressor,
    NAME_MOVER: _name_mover,
    "backup name mover": _backup,
}
"""The criterion of each role, in the order of the circuit."""

WRITING_ROLES: Final = ("negative name mover", SUBJECT_SUPPRESSOR, NAME_MOVER, "backup name mover")
"""The roles of heads that write into the logits."""


def prompts_by_order(prompts: PromptPairs) -> dict[Order, list[int]]:
    """Return the indices of the prompts that name the IO first (`abba`) and of those that name the S first (`baba`)."""
    is_abba = [pair.labels["IO"] < pair.labels["S1"] for pair in prompts]
    return {
        "abba": [index for index, abba in enumerate(is_abba) if abba],
        "baba": [index for index, abba in enumerate(is_abba) if not abba],
    }


def heads_in_role(role: str, scores: Mapping[Order, Scores], thresholds: Thresholds, heads: list[Head]) -> list[Head]:
    """Return those of the `heads`, the rows of the scores, that meet the criterion of a role in both orders."""
    meets = np.logical_and.reduce([ROLES[role](scores[order], thresholds) for order in ORDERS])
    return [head for head, is_met in zip(heads, meets, strict=True) if is_met]
