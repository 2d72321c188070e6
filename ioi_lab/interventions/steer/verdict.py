"""The verdict on a direction: whether it steers the model, and the reasons if it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FLIP_MAJORITY: Final = 0.5
"""A direction steers if it flips more than this share of the prompts, with the whole interval."""

Outcome = Literal["steered", "not steered", "no direction", "no push away"]
"""`no direction`: the sides of the contrast do not differ at any site. `no push away`: no scale pushes prompts away
from what they prefer, so that there is nothing to flip."""

Reason = Literal[
    "no slope",
    "pushes the other way",
    "flips too few",
    "not monotone",
    "not steeper than random",
    "within the random band",
]


@dataclass(frozen=True)
class Verdict:
    """Whether the direction itself steers the model at the best site."""

    outcome: Outcome

    reasons: tuple[Reason, ...]
    """The conditions of steering that are not met."""

    @property
    def is_steered(self) -> bool:
        """Whether the direction steers the model."""
        return self.outcome == "steered"


def verdict_on(
    *,
    has_direction: bool,
    pushes_away: bool,
    has_slope: bool,
    goes_its_way: bool,
    flips_most: bool,
    is_monotone: bool,
    steeper_than_random: bool,
    beyond_random: bool,
) -> Verdict:
    """Return the verdict.

    Args:
        has_direction: Whether the direction has a length.
        pushes_away: Whether some scale pushes prompts away from what they prefer.
        has_slope: Whether the slope next to 0 is distinguishable from 0, corrected for the number of sites.
        goes_its_way: Whether small positive scales move prompts towards their answer.
        flips_most: Whether most prompts flip at the strongest scale.
        is_monotone: Whether the logit difference rises, or falls, all through the linear range, or through the
            narrowest range around 0 if there is none.
        steeper_than_random: Whether the site, which is the steepest of several, is steeper than random directions are
            at their steepest sites.
        beyond_random: Whether the logit difference at the strongest scale lies outside the band of random directions
            at the same site and scale.

    """
    conditions: dict[Reason, bool] = {
        "no slope": has_slope,
        "pushes the other way": goes_its_way or not has_slope,
        "flips too few": flips_most,
        "not monotone": is_monotone,
        "not steeper than random": steeper_than_random,
        "within the random band": beyond_random,
    }
    reasons = tuple(reason for reason, is_met in conditions.items() if not is_met)
    if not has_direction:
        return Verdict("no direction", reasons)
    if not pushes_away:
        return Verdict("no push away", reasons)
    return Verdict("not steered" if reasons else "steered", reasons)
