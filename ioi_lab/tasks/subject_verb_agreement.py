"""Agreement of subject and verb: "The keys near the cabinet" → " are", " were" or " have".

The task of Linzen, Dupoux and Goldberg 2016 (Assessing the ability of LSTMs to learn syntax-sensitive dependencies,
arXiv 1611.01368), with clean and corrupted prompts as in Finlayson et al. 2021 (Causal analysis of syntactic agreement
mechanisms in neural language models, arXiv 2106.06087): the subject is in the other number. Answers are the forms of
verbs in the number of the subject, distractors those in the other number.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

from pydantic import Field
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.tasks.label_columns import label_places
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

SUBJECTS: Final = tuple(
    """
    author farmer senator teacher doctor lawyer player manager driver officer writer artist guard pilot consultant
    customer minister executive surgeon dancer singer student soldier friend neighbor actor judge nurse chef guest
    """.split()
)
ATTRACTORS: Final = tuple(
    """
    car table house boat door window tree garden bridge river shop lake desk gate road tower wall field bench building
    """.split()
)
PREPOSITIONS: Final = ("near", "behind", "beside", "across from")
FORMS: Final = ((" is", " was", " has"), (" are", " were", " have"))
"""Forms of verbs in the singular and in the plural, in the same order."""

MIN_NOUNS: Final = 8
"""The least number of subjects whose singular and plural are equally long in tokens."""


class SubjectVerbAgreementTask(Task):
    """Prompts from a seed that end before a verb, whose number is that of the subject."""

    name: str = "subject_verb_agreement"
    n: int = Field(32, ge=1)
    """The number of prompts."""

    seed: int = Field(0, ge=0)
    structure: Literal["simple", "prepositional"] = "prepositional"
    """`simple`: "The author". `prepositional`: "The author near the cars", with a noun between subject and verb."""

    attractor: Literal["mixed", "same", "opposite"] = "mixed"
    """The number of the noun in between: that of the subject, the opposite one, or either by turns."""

    @property
    @override
    def title(self) -> str:
        between = "" if self.structure == "simple" else f", {self.attractor} attractor"
        return f"{self.name} ({self.structure}{between}){self.selection}"

    @override
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """Return prompts with subjects in the singular and in the plural by turns.

        Labels: BOS (if prompts have it), SUBJECT, ATTRACTOR (if there is one) and END. Parts of the prompts that must
        not share names differ in both nouns. Raises a `LabError` if too few nouns are as long in the plural as in the
        singular, or no form of a verb is a single token in both.
        """
        forms = [both for both in zip(*FORMS, strict=True) if all(tokens.single(form) is not None for form in both)]
        subjects, attractors = (
            [noun for noun in nouns if _length(tokens, noun) == _length(tokens, f"{noun}s")]
            for nouns in (SUBJECTS, ATTRACTORS)
        )
        if min(len(subjects), len(attractors)) < MIN_NOUNS or not forms:
            raise LabError(
                f"task=subject_verb_agreement: in this model's tokenizer {len(subjects)} of {len(SUBJECTS)} subjects "
                f"and {len(attractors)} of {len(ATTRACTORS)} other nouns are as long in the plural as in the singular, "
                f"at least {MIN_NOUNS} of each are needed; and {len(forms)} of {len(FORMS[0])} verbs are single tokens"
            )
        rng = random.Random(self.seed)
        drawn = [(rng.choice(subjects), rng.choice(attractors), rng.choice(PREPOSITIONS)) for _ in range(self.n)]
        return PromptPairs([self._pair(tokens, forms, index, *each) for index, each in enumerate(drawn)])

    def _pair(
        self,
        tokens: Tokens,
        forms: Sequence[tuple[str, str]],
        index: int,
        subject: str,
        attractor: str,
        preposition: str,
    ) -> PromptPair:
        is_plural = index % 2
        same = index // 2 % 2 == 0 if self.attractor == "mixed" else self.attractor == "same"
        other = _in_number(attractor, is_plural if same else 1 - is_plural)
        rest = "" if self.structure == "simple" else f" {preposition} the {other}"
        own, twin = (_in_number(subject, number) for number in (is_plural, 1 - is_plural))
        clean = f"The {own}{rest}"
        labels = {"SUBJECT": f"The {own}"} | ({"ATTRACTOR": f"the {other}"} if rest else {})
        pair = PromptPair.build(
            tokens,
            clean,
            f"The {twin}{rest}",
            [both[is_plural] for both in forms],
            [both[1 - is_plural] for both in forms],
            lambda _: label_places(tokens, clean, labels),
        )
        return replace(pair, topics=(subject, attractor) if rest else (subject,))


def _length(tokens: Tokens, noun: str) -> int:
    return len(tokens.encode(f"The {noun}"))


def _in_number(noun: str, is_plural: int) -> str:
    return f"{noun}s" if is_plural else noun
