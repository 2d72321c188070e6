"""Roles of attention heads in the IOI circuit (Wang et al. 2022, arXiv 2211.00593), told from scores by thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from pydantic import Field

from ioi_lab.config import LabConfig
from ioi_lab.stats.metrics import Array

Share = Annotated[float, Field(ge=0, le=1)]
Scores = Mapping[str, Float[Array, "layer head"]]
"""Scores by name; NaN where one was not measured."""


class Thresholds(LabConfig):
    """What a score must reach: attention weights, shares of names copied, shares of a logit or of its difference."""

    pattern: Share
    """Attention on repeated random tokens, and on the task's labels, of the first three roles."""

    end: Share
    """Attention from END to a name."""

    copying: Share
    direct: Share
    """Direct effect on a name's logit, as a share of the answer's logit (over the mean logit)."""

    queries: Share
    """Share of the gap between the runs that goes with a head's path into the name movers' queries."""

    backup: Share
    """Rise of the direct effect on the answer once the name movers are ablated, as a share of its logit."""


def _by_pattern(name: str) -> Callable[[Scores, Thresholds], Bool[NDArray[np.bool_], "layer head"]]:
    return lambda s, t: (s[f"{name}_random"] >= t.pattern) & (s[f"{name}_task"] >= t.pattern)


def _s_inhibition(s: Scores, t: Thresholds) -> NDArray[np.bool_]:
    """Attends from END to S2, and its path into the name movers' queries carries the preference for IO."""
    return (s["end_to_s2"] >= t.end) & (s["query_effect"] >= t.queries)


def _name_mover(s: Scores, t: Thresholds) -> NDArray[np.bool_]:
    """Attends from END to IO, copies names, and raises the answer's logit."""
    return (s["end_to_io"] >= t.end) & (s["copying"] >= t.copying) & (s["direct_answer"] >= t.direct)


def _negative_name_mover(s: Scores, t: Thresholds) -> NDArray[np.bool_]:
    """Attends from END to a name, does the opposite of copying, and lowers the logit of the name it attends to.

    That name may be S, which raises the logit difference (copy suppression: McDougall et al. 2023, arXiv 2310.04625).
    """
    to_subject = s["end_to_s1"] + s["end_to_s2"]
    on_attended = np.where(s["end_to_io"] >= to_subject, s["direct_answer"], s["direct_distractor"])
    attends = np.maximum(s["end_to_io"], to_subject) >= t.end
    return attends & (s["negative_copying"] >= t.copying) & (on_attended <= -t.direct)


def _backup(s: Scores, t: Thresholds) -> NDArray[np.bool_]:
    """No name mover, but writes the answer, and more than before, once the name movers are ablated."""
    change = s["ablation_change"]
    return (change >= t.backup) & (s["direct_answer"] + change >= t.backup) & ~_name_mover(s, t)


NAME_MOVER: Final = "name mover"
S_INHIBITION: Final = "S-inhibition"
ROLES: Final[Mapping[str, Callable[[Scores, Thresholds], NDArray[np.bool_]]]] = {
    "previous token": _by_pattern("previous_token"),
    "duplicate token": _by_pattern("duplicate_token"),
    "induction": _by_pattern("induction"),
    S_INHIBITION: _s_inhibition,
    "negative name mover": _negative_name_mover,
    NAME_MOVER: _name_mover,
    "backup name mover": _backup,
}
"""In the order of the circuit. A score that was not measured (NaN) is no evidence."""


def heads_in_role(role: str, scores: Scores, thresholds: Thresholds) -> list[tuple[int, int]]:
    """Layer and head of those whose scores reach the role's thresholds."""
    with np.errstate(invalid="ignore"):  # NaN is below every threshold
        found = ROLES[role](scores, thresholds)
    return [(int(layer), int(head)) for layer, head in np.argwhere(found)]
