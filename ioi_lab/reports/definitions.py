"""Definitions of the terms that several reports use, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ioi_lab.stats.bootstrap import MIN_PROMPTS, Over


@dataclass(frozen=True)
class Method:
    """A term with its definition and its source: what a reader needs to judge a number."""

    term: str
    definition: str
    """One or more sentences."""

    source: str = ""
    """A paper or a textbook, such as `Wang et al. 2022, arXiv 2211.00593`."""


WANG: Final = "Wang et al. 2022, arXiv 2211.00593"
HEIMERSHEIM: Final = "Heimersheim & Nanda 2024, arXiv 2404.15255"

PASSES: Final = Method(
    "Clean and corrupted prompts",
    "Each clean prompt has a corrupted twin, which differs from it in what decides the answer. Answer and distractor "
    "of both are those of the clean prompt, so that a model that does the task prefers the answer on the clean prompt "
    "and not on the corrupted one.",
    HEIMERSHEIM,
)
LOGIT_DIFFERENCE: Final = Method(
    "Logit difference",
    "The logit of the answer less the logit of the distractor at the last position of a prompt, averaged over prompts. "
    "It is positive if the model prefers the answer.",
    WANG,
)
RECOVERY: Final = Method(
    "Recovery",
    "The logit difference m with an edit, on the scale from the corrupted to the clean prompts: "
    "(m − corrupted) / (clean − corrupted), of means over prompts. It is 0 if the edited model behaves as on corrupted "
    "prompts and 1 if it behaves as on clean ones; values below 0 and above 1 are possible.",
    WANG,
)
SELF_CHECKS: Final = Method(
    "Self-checks",
    "The run also writes one pass whole into the other, which has to move the logit difference all the way "
    "(check_everything = 1), and each pass into itself, which has to change nothing (check_nothing = 0). A run that "
    "misses either by more than 0.001 fails and reports nothing.",
)
FAITHFULNESS: Final = Method(
    "Faithfulness f",
    "f(C) = (m(C) − m(∅)) / (m(G) − m(∅)), where m is the mean logit difference with the edges of the circuit C alone, "
    "with all edges (G) and with none (∅). It is 1 if the circuit does what the whole model does; it can exceed 1.",
    "Mueller et al. 2025, arXiv 2504.13151",
)


def intervals(over: Over) -> Method:
    """Return how intervals are made."""
    return Method(
        f"95 % intervals over {over}",
        f"Those of means and ratios are by the studentized bootstrap over {over}, with 1,000 resamples; those of "
        f"shares of prompts are by Wilson's score method. There are none with fewer than {MIN_PROMPTS} {over}.",
        "Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 12.5; Wilson 1927",
    )


def tests(over: Over) -> Method:
    """Return how it is decided which of many effects are more than chance."""
    return Method(
        "Distinguishable from 0",
        f"Each effect is tested by Student's t over {over}. The p-values are adjusted for the number of effects by the "
        "procedure of Benjamini and Hochberg; effects with an adjusted p-value below 0.05 are found. Of these, at most "
        "5 % are expected to be false.",
        "Benjamini & Hochberg 1995",
    )
