"""The texts of a grid's report: question, answer, captions, methods and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from ioi_lab.interventions.grid_result import GridResult, GridTitle
from ioi_lab.interventions.random_sets import RandomSets
from ioi_lab.interventions.recovery import MEASURES
from ioi_lab.reports.captions import DIVERGING, OUTLINED, RANKED, bands, bars, joined, pale
from ioi_lab.reports.definitions import RECOVERY, Method, tests
from ioi_lab.reports.report import ReportContext
from ioi_lab.reports.wording import counted, enumerated, interval, test_over
from ioi_lab.stats.bootstrap import MIN_PROMPTS

_MAX_NAMED: Final = 5
"""The greatest number of effects that the answer names."""

_MIN_NAMED: Final = 0.005
"""Effects that are smaller, which would be written as 0.00, are not named unless there are no others."""


def random_sets_line(random: RandomSets, row: int) -> str:
    """Return how random sets of heads compare with that of a row of the results, as a sentence; empty without any."""
    values = random.logit_diffs(row)
    if not len(values):
        return ""
    kept, near = ("kept", "as near to") if random.are_kept else ("edited", "as far from")
    n_as_good = random.n_as_good(row)
    return (
        f"With {counted(len(values), 'random set')} of as many heads {kept} instead, the logit difference is from "
        f"{values.min():.2f} to {values.max():.2f}, in the median {np.median(values):.2f}; {n_as_good} of them "
        f"{'is' if n_as_good == 1 else 'are'} {near} the unedited model's (p = {random.p_value(row):.2g})."
    )


class GridTexts:
    """The texts about one grid; `labels` are the names of its rows."""

    def __init__(self, result: GridResult, title: GridTitle, labels: Sequence[str], context: ReportContext) -> None:
        self._result, self._title, self._labels, self._context = result, title, labels, context

    @property
    def question(self) -> str:
        """What was asked."""
        model, task = self._context.model, self._context.task
        if (others_are := self._title.others_are) is not None:
            return (
                f"How much of {model}'s preference for the answer on {task} is left if all other heads are replaced by "
                f"{others_are}?"
            )
        effect = "restore" if self._title.base == "corrupted" else "carry"
        subject = f"{self._noun}s of {model}"
        what = f"{effect} the preference for the answer on {task}"
        if self._title.sets == "each":
            return f"Which {subject} {what}, if {self._title.how}, one at a time?"
        which = "the chosen" if self._title.sets == "together" else "all but the chosen"
        return f"How far do {which} {subject} {what}, if {self._title.how}, together?"

    @property
    def answer(self) -> list[str]:
        """The effects that are found, the largest first; else the largest, which may be chance."""
        result = self._result
        if self._title.sets != "each":
            return [line for row in range(min(len(result.rows), _MAX_NAMED)) for line in self._set_lines(row)]
        n_rows, noun = len(result.rows), self._noun
        largest = f"the largest effect, {self._unit}, is that of {self._effect(result.ranking[0])}"
        if not result.discoveries.is_known or not result.effect.has_bounds:
            return [
                f"Without intervals or tests (fewer than {MIN_PROMPTS} {self._context.over}, or a gap that may "
                f"vanish), any effect may be chance; {largest}."
            ]
        if not result.top:
            return [f"No {noun} of {n_rows} has an effect beyond chance {test_over(self._context.over)}; {largest}."]
        count = len(result.top)
        large = [row for row in result.top if abs(result.effect.value[row]) >= _MIN_NAMED]
        shown = large[:_MAX_NAMED] or result.top[:1]
        largest_of = f"the {len(shown)} largest, " if len(shown) > 1 else "the largest, "
        which = largest_of if len(shown) < count else ""
        sentences = [
            f"{count} of {n_rows} {noun}s {'has an effect' if count == 1 else 'have effects'} beyond chance "
            f"{test_over(self._context.over)}; {which}{self._unit}: "
            f"{enumerated([self._effect(row) for row in shown])}.",
            self._scale,
        ]
        held_out = result.discoveries.held_out
        if held_out is not None and n_rows > 1:
            chosen = f"Chosen on one half of the prompts, the largest effect ({self._labels[held_out.row]})"
            is_confirmed = bool(held_out.effect.differs().any())
            verdict = "so it is no accident of choosing the largest" if is_confirmed else "which does not confirm it"
            sentences.append(f"{chosen} is {interval(held_out.effect)} on the other half, {verdict}.")
        return sentences

    @property
    def captions(self) -> dict[str, str]:
        """How to read the figures that a grid may have."""
        over, noun = self._context.over, self._noun
        found = joined(pale(over) if self._result.discoveries.is_known else "", OUTLINED)
        return {
            "recovery_by_head": joined(
                f"Each cell is the effect of one {noun}: rows are layers, columns are {noun}s.", self._scale, DIVERGING,
                found,
            ),
            "recovery_by_position": joined(
                "Each cell is the effect of one layer (rows) at one position of the prompt (columns).", self._scale,
                DIVERGING, found,
            ),
            "recovery_by_layer": joined("The effect of each layer.", self._scale, bands(over)),
            "top_effects": joined(
                f"The largest effects; what has less than 2 % of the largest is left out. {RANKED}", self._scale,
                bars(over), pale(over) if self._result.discoveries.is_known else "",
            ),
        }  # fmt: skip

    @property
    def methods(self) -> list[Method]:
        """What was done to the activations, and how effects are measured and tested."""
        metric = self._result.metric
        recovery = RECOVERY if metric == "logit_diff" else replace(RECOVERY, definition=self._definition)
        return [*self._title.methods, recovery, tests(self._context.over)]

    @property
    def limits(self) -> list[str]:
        """What the effects do not show."""
        texts = list(self._title.limits)
        if self._result.random_sets is not None:
            texts.append(
                "The p-value of the comparison with random sets of heads is that of a permutation test, if the heads "
                "were not chosen by what they do on these prompts."
            )
        if self._title.sets == "each":
            texts.append(
                f"Each {self._noun} is edited by itself. Effects need not add up, and {self._noun}s that back each "
                "other up can all look unimportant."
            )
        texts.append(
            "An effect is about the difference between clean and corrupted prompts: what both have in common, such as "
            "grammar, does not show."
        )
        not_found = self._result.discoveries.not_found
        if self._title.sets == "each" and not_found is not None and not_found.any():
            texts.append("An effect that is not found is not shown to be 0: it may be too small for these prompts.")
        return texts

    @property
    def _noun(self) -> str:
        site = self._result.rows[0].sites[0]
        if site.head is not None:
            return self._result.noun if self._result.noun != "set" else "head"
        return {"mlp_out": "MLP", "attn_out": "attention layer"}.get(self._title.component, "site")

    @property
    def _definition(self) -> str:
        """What recovery is of another measure than the logit difference."""
        return (
            f"The {MEASURES[self._result.metric].name} m with an edit, on the scale from the corrupted to the clean "
            "prompts: (m − corrupted) / (clean − corrupted), of means over prompts. For the KL divergence from the "
            "clean pass it is 1 − KL(clean ‖ edited) / KL(clean ‖ corrupted)."
        )

    @property
    def _unit(self) -> str:
        return "in recovery" if self._title.base == "corrupted" else "in change of recovery"

    @property
    def _scale(self) -> str:
        if self._title.base == "corrupted":
            measure = MEASURES[self._result.metric].name
            return f"The scale is recovery: 0 is the corrupted prompts' {measure}, 1 the clean prompts'."
        return "The scale is the change of recovery: 0 is no effect, −1 all the way to the corrupted prompts."

    def _effect(self, row: int) -> str:
        return f"{self._labels[row]} ({interval(self._result.effect, row)})"

    def _set_lines(self, row: int) -> list[str]:
        """What an edited set does, and how random sets compare with it."""
        compared = "" if self._result.random_sets is None else random_sets_line(self._result.random_sets, row)
        return [self._share(row), compared] if compared else [self._share(row)]

    def _share(self, row: int) -> str:
        result = self._result
        logit_diff, share = (result.estimates[name] for name in ("logit_diff", "logit_diff_share"))
        whole = interval(result.baselines.estimates["clean"]["logit_diff"])
        if (others_are := self._title.others_are) is not None:
            done = f"With {self._labels[row]} replaced by {others_are}"
        else:
            done = f"With {self._labels[row]} edited together"
        return (
            f"{done}, the logit difference is {interval(logit_diff, row)}, which is {interval(share, row)} of the "
            f"unedited model's {whole} on the clean prompts; recovery is {interval(result.estimates['recovery'], row)}."
        )
