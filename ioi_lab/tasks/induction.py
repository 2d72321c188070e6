"""Induction: "… store ring … park lamp … store" → " ring". What followed a word comes again after it.

The task of Olsson et al. 2022 (In-context Learning and Induction Heads, arXiv 2209.11895) with words instead of random
tokens.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Final, Literal

from pydantic import Field
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.tasks.ioi_text import OBJECTS, PLACES
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

WORDS: Final = (*PLACES[:15], *OBJECTS[:15])

N_WORDS: Final = 16
"""The number of words that are drawn for a prompt: 11 for itself, and 5 for its twin."""


class InductionTask(Task):
    """Induction prompts from a seed, with words that are single tokens of the model's tokenizer."""

    name: str = "induction"
    n: int = Field(32, ge=1)
    """The number of prompts."""

    seed: int = Field(0, ge=0)
    corruption: Literal["swap", "abc"] = "swap"
    """`swap` exchanges the two words that come before the answers, so that the repeated word stood before the other
    answer. `abc` replaces all five words that matter by unrelated ones: nothing is repeated, there is no answer."""

    @property
    @override
    def title(self) -> str:
        return f"{self.name} ({self.corruption}){self.selection}"  # recovery depends on the corruption

    @override
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """Return prompts `… A B … C D … A` whose answer is B; the answer to twins `… C B … A D … A` is D.

        In every second one C D comes before A B. Labels: BOS (if prompts have it), A, B, C, D (in the clean prompt) and
        END. All words differ. Raises a `LabError` if too few words are single tokens.
        """
        words = [word for word in WORDS if tokens.single(f" {word}") is not None]
        if len(words) < N_WORDS:
            raise LabError(
                f"task=induction: this model's tokenizer has {len(words)} of {len(WORDS)} words as single tokens, at "
                f"least {N_WORDS} are needed; use task=pairs with answers that are single tokens"
            )
        rng = random.Random(self.seed)
        return PromptPairs([self._pair(rng.sample(words, N_WORDS), index % 2 == 0, tokens) for index in range(self.n)])

    def _pair(self, words: list[str], answer_first: bool, tokens: Tokens) -> PromptPair:
        clean = [*words[:4], words[0]]
        a, b, c, d, _ = clean
        corrupted = [c, b, a, d, a] if self.corruption == "swap" else words[4:9]
        texts = [_text(each, words[9:], answer_first) for each in (clean, corrupted)]
        return PromptPair.build(tokens, texts[0], texts[1], f" {b}", f" {d}", partial(_labels, words, tokens))


def _text(words: list[str], others: list[str], answer_first: bool) -> str:
    """Return `… A B … C D … END`, or with C D before A B."""
    first, second = (words[:2], words[2:4]) if answer_first else (words[2:4], words[:2])
    return " ".join([*others[:2], *first, *others[2:4], *second, *others[4:], words[4]])


def _labels(words: list[str], tokens: Tokens, ids: tuple[int, ...]) -> dict[str, int]:
    return {label: ids.index(tokens.single(f" {word}")) for label, word in zip("ABCD", words, strict=False)}
