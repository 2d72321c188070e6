"""How one test of a circuit ends, and which of several end in which way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ioi_lab.circuits.validity.evaluation import Outcome
from ioi_lab.reports.wording import enumerated, plain
from ioi_lab.stats.bootstrap import Estimate

_ORDER: Final[tuple[Outcome, ...]] = ("holds", "fails", "not shown", "not testable")
_VERBS: Final[dict[Outcome, tuple[str, str]]] = {
    "holds": ("holds", "hold"),
    "fails": ("fails", "fail"),
    "not shown": ("is not shown", "are not shown"),
    "not testable": ("is not testable", "are not testable"),
}
"""What is said of one test and of several."""


@dataclass(frozen=True)
class Statistic:
    """A number of a test, with its interval and what it is compared with."""

    name: str
    value: Estimate
    reference: float | None = None


@dataclass(frozen=True)
class Verdict:
    """How a test of a circuit ends."""

    test: str
    outcome: Outcome
    sentence: str
    statistics: list[Statistic]

    @property
    def name(self) -> str:
        """The name of the test in texts."""
        return plain(self.test)

    @property
    def line(self) -> str:
        """The test, its outcome and the sentence."""
        return f"{self.name}: {self.outcome}; {self.sentence}"


def joint_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of several comparisons for one claim: it holds if it does in all that are possible."""
    for outcome in ("fails", "not shown", "holds"):
        if outcome in outcomes:
            return outcome
    return "not testable"


def outcomes(found: Sequence[Verdict]) -> str:
    """Return which tests end in which way: `2 hold (sufficiency, necessity) and 1 fails (minimality)`."""
    named = {outcome: [each.name for each in found if each.outcome == outcome] for outcome in _ORDER}
    return enumerated(
        [
            f"{len(names)} {_VERBS[outcome][len(names) > 1]} ({', '.join(names)})"
            for outcome, names in named.items()
            if names
        ]
    )
