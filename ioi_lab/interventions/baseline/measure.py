"""The measurement of a model's unedited passes, in all and by kind of prompt, and whether the model does the task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ioi_lab.circuits.validity.by_group import order_of
from ioi_lab.engine.edits import OTHER_PASS
from ioi_lab.interventions.base import Result
from ioi_lab.interventions.baselines import Baselines, estimates_of
from ioi_lab.interventions.self_checks import MIN_GAP, SelfChecks, checked_run
from ioi_lab.stats.bootstrap import Estimate

if TYPE_CHECKING:
    from ioi_lab.engine.engine import Engine
    from ioi_lab.tasks.prompts import PromptPairs

CHANCE: Final = 0.5
"""The accuracy of a model that prefers answer or distractor at random."""


@dataclass(frozen=True)
class PromptGroup:
    """Some of the prompts: `all` of them, or those with one sentence, or with one order of labels."""

    by: str
    name: str
    rows: Sequence[int]


@dataclass(frozen=True)
class BaselineResult(Result):
    """The clean pass of each group of prompts; the first group has all of them."""

    groups: list[PromptGroup]
    logit_diff: Estimate
    accuracy: Estimate

    @property
    def does_task(self) -> bool:
        """Whether the model answers better than chance: accuracy and logit difference, with their whole intervals.

        Also False with too few prompts for intervals, since then it is not known.
        """
        return bool(self.accuracy.exceeds(CHANCE)[0] and self.logit_diff.exceeds(0.0)[0])

    @property
    def is_known(self) -> bool:
        """Whether there are enough prompts for intervals."""
        return bool(math.isfinite(self.accuracy.low[0]))


def measure_baseline(engine: Engine) -> BaselineResult:
    """Measure both passes; the self-checks are NaN if clean and corrupted prompts give the same logit difference."""
    clean, corrupted = engine.baseline("clean"), engine.baseline("corrupted")
    has_gap = abs(clean.logit_diff.mean() - corrupted.logit_diff.mean()) >= MIN_GAP
    checks = checked_run(engine, [], "clean")[1] if has_gap else SelfChecks(math.nan, math.nan)
    groups = groups_of(engine.prompts)
    parts = [engine.bootstrap.among(group.rows) for group in groups]
    return BaselineResult(
        baselines=Baselines(
            engine.prompts,
            clean,
            corrupted,
            {which: estimates_of(engine, engine.baseline(which)) for which in OTHER_PASS},
        ),
        checks=checks,
        groups=groups,
        logit_diff=Estimate.joined(
            [part.mean(clean.logit_diff[:, group.rows]) for part, group in zip(parts, groups, strict=True)]
        ),
        accuracy=Estimate.joined(
            [part.share(clean.correct[:, group.rows]) for part, group in zip(parts, groups, strict=True)]
        ),
    )


def groups_of(prompts: PromptPairs) -> list[PromptGroup]:
    """Return all prompts, then those of each sentence and of each order of labels, if there are several."""
    groups = [PromptGroup("all", "all prompts", range(len(prompts)))]
    marks = {"sentence": [pair.group or "" for pair in prompts], "order": [order_of(pair) for pair in prompts]}
    for by, of_prompts in marks.items():
        names = list(dict.fromkeys(of_prompts))
        if len(names) > 1:
            groups += [
                PromptGroup(by, name, [row for row, mark in enumerate(of_prompts) if mark == name]) for name in names
            ]
    return groups
