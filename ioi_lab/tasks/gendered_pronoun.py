"""Gendered pronouns: "So Mary is a really great friend, isn't" → " she".

The task of Mathwin et al. 2023 (Identifying a preliminary circuit for predicting gendered pronouns in GPT-2 small),
after the causal analysis of gender in language models by Vig et al. 2020 (arXiv 2004.12265). The corrupted prompt has a
name of the other gender. Names are counted as male or female as in the English-speaking countries of the last century.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from pydantic import Field
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.tasks.label_columns import label_places
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

FEMALE: Final = tuple(
    """
    Alice Alicia Amanda Amber Amy Angela Ann Anna Anne Barbara Carol Catherine Christina Christine Claire Diana Dorothy
    Elizabeth Emily Emma Eva Grace Hannah Heather Helen Jane Jennifer Jessica Joan Julia Julie Karen Kate Laura Lauren
    Linda Lisa Louise Lucy Maria Martha Mary Megan Michelle Nancy Nicole Pamela Patricia Rachel Rebecca Rose Ruth
    Samantha Sandra Sara Sarah Stephanie Susan Victoria
    """.split()
)
MALE: Final = tuple(
    """
    Aaron Adam Alan Albert Allen Andrew Anthony Arthur Ben Benjamin Bill Bob Bradley Brandon Brian Bruce Carl Charles
    Craig Daniel David Dennis Donald Douglas Edward Eric Frank Fred Gary George Graham Greg Harry Henry Ian Jack Jacob
    James Jason Jeff Jeremy Jim Joe John Jonathan Joseph Joshua Justin Keith Kenneth Kevin Larry Luke Mark Martin
    Matthew Michael Mike Nathan Nicholas Nick Oliver Patrick Paul Peter Philip Ralph Richard Robert Roger Ron Russell
    Ryan Scott Sean Simon Stephen Steve Steven Thomas Tim Timothy Tom Tony Victor Vincent Walter Wayne William
    """.split()
)
MIN_NAMES: Final = 10
"""The least number of names of each gender that are single tokens."""

PRONOUNS: Final = (" she", " he")
TEMPLATES: Final = (
    "So {name} is a really great friend, isn't",
    "So {name} was a very good cook, wasn't",
    "I know that {name} is a kind neighbor, isn't",
    "It seems that {name} was a talented writer, wasn't",
    "We all think that {name} is a brave soldier, isn't",
    "They say that {name} was a famous painter, wasn't",
)


class GenderedPronounTask(Task):
    """Prompts from a seed that end before a pronoun, whose gender is that of a name."""

    name: str = "gendered_pronoun"
    n: int = Field(32, ge=1)
    """The number of prompts."""

    seed: int = Field(0, ge=0)

    @override
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """Return prompts with a female and a male name by turns; the twin has a name of the other gender.

        Labels: BOS (if prompts have it), NAME and END. The groups are the sentences; parts of the prompts that must not
        share names differ in the names of both twins. Raises a `LabError` if the pronouns or too few names are single
        tokens.
        """
        names = [[name for name in each if tokens.single(f" {name}") is not None] for each in (FEMALE, MALE)]
        if any(tokens.single(pronoun) is None for pronoun in PRONOUNS):
            raise LabError(
                f"task=gendered_pronoun: {PRONOUNS[0]!r} and {PRONOUNS[1]!r} are not single tokens of this model, as "
                "answers have to be"
            )
        if min(map(len, names)) < MIN_NAMES:
            raise LabError(
                f"task=gendered_pronoun: this model's tokenizer has {len(names[0])} female and {len(names[1])} male "
                f"names as single tokens, at least {MIN_NAMES} of each are needed"
            )
        rng = random.Random(self.seed)
        return PromptPairs([self._pair(tokens, names, index % 2, rng) for index in range(self.n)])

    def _pair(self, tokens: Tokens, names: list[list[str]], gender: int, rng: random.Random) -> PromptPair:
        template = rng.choice(TEMPLATES)
        own, other = rng.choice(names[gender]), rng.choice(names[1 - gender])
        clean, corrupted = template.format(name=own), template.format(name=other)
        pair = PromptPair.build(
            tokens,
            clean,
            corrupted,
            PRONOUNS[gender],
            PRONOUNS[1 - gender],
            lambda _: label_places(tokens, clean, {"NAME": f" {own}"}),
        )
        return replace(pair, group=template, topics=(own, other))
