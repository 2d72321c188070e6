"""Criteria for the roles of attention heads in the IOI circuit: Wang et al. 2022 (arXiv 2211.00593).

Each role is a condition on measured scores with thresholds. A score that was not measured (NaN) is not evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from pydantic import Field

from ioi_lab.config import LabConfig
from ioi_lab.stats.metrics import Array

Head = tuple[int, int]
"""A layer and a head."""

Share = Annotated[float, Field(ge=0, le=1)]
Scores = Mapping[str, Float[Array, "layer head"]]
"""Scores by name, each a mean over prompts or over random sequences; NaN for heads for which it was not measured."""


class Thresholds(LabConfig):
    """The least that each score must be: attention weights, and shares of names, of a logit or of the gap."""

    pattern: Share = 0.25
    """Attention on repeated random tokens, and on the task's labels, for the first three roles."""

    end: Share = 0.2
    """Attention from END to a name."""

    copying: Share = 0.25
    """Share of the names that the OV circuit copies, or does the opposite of copying."""

    direct: Share = 0.03
    """Direct effect on a name's logit, as a share of the answer's logit (both over the mean logit)."""

    queries: Share = 0.02
    """Share of the clean − corrupted gap that is lost with a head's path into the name movers' queries."""

    backup: Share = 0.03
    """Rise of the direct effect on the answer once the name movers are ablated, as a share of the answer's logit."""


Criterion = Callable[[Scores, Thresholds], Bool[NDArray[np.bool_], "layer head"]]


def _by_pattern(name: str) -> Criterion:
    """Return the criterion of a role that needs attention of one kind on random tokens and in the task."""
    return lambda s, t: (s[f"{name}_random"] >= t.pattern) & (s[f"{name}_task"] >= t.pattern)


def _s_inhibition(s: Scores, t: Thresholds) -> Bool[NDArray[np.bool_], "layer head"]:
    """Attends from END to S2, and its path into the name movers' queries carries the preference for IO."""
    return (s["end_to_s2"] >= t.end) & (s["query_effect"] >= t.queries)


def _name_mover(s: Scores, t: Thresholds) -> Bool[NDArray[np.bool_], "layer head"]:
    """Attends from END to IO, copies names, and raises the answer's logit."""
    return (s["end_to_io"] >= t.end) & (s["copying"] >= t.copying) & (s["direct_answer"] >= t.direct)


def _negative_name_mover(s: Scores, t: Thresholds) -> Bool[NDArray[np.bool_], "layer head"]:
    """Attends from END to a name, does the opposite of copying, and lowers the logit of the name that it attends to.

    That name may be S, which raises the logit difference (copy suppression: McDougall et al. 2023, arXiv 2310.04625).
    """
    to_subject = s["end_to_s1"] + s["end_to_s2"]
    on_attended = np.where(s["end_to_io"] >= to_subject, s["direct_answer"], s["direct_distractor"])
    attends = np.maximum(s["end_to_io"], to_subject) >= t.end
    return attends & (s["negative_copying"] >= t.copying) & (on_attended <= -t.direct)


def _backup(s: Scores, t: Thresholds) -> Bool[NDArray[np.bool_], "layer head"]:
    """Is not a name mover, but writes the answer once the name movers are ablated, and more than it did before."""
    change = s["ablation_change"]
    return (change >= t.backup) & (s["direct_answer"] + change >= t.backup) & ~_name_mover(s, t)


NAME_MOVER: Final = "name mover"
S_INHIBITION: Final = "S-inhibition"
ROLES: Final[Mapping[str, Criterion]] = {
    "previous token": _by_pattern("previous_token"),
    "duplicate token": _by_pattern("duplicate_token"),
    "induction": _by_pattern("induction"),
    S_INHIBITION: _s_inhibition,
    "negative name mover": _negative_name_mover,
    NAME_MOVER: _name_mover,
    "backup name mover": _backup,
}
"""The criterion of each role, in the order of the circuit."""

WRITING_ROLES: Final = ("negative name mover", NAME_MOVER, "backup name mover")
"""The roles of heads that write into the logits."""


def heads_in_role(role: str, scores: Scores, thresholds: Thresholds) -> list[Head]:
    """Return the heads whose scores meet the criterion of a role, by layer and head."""
    with np.errstate(invalid="ignore"):  # NaN is below every threshold
        meets = ROLES[role](scores, thresholds)
    return [(int(layer), int(head)) for layer, head in np.argwhere(meets)]
