"""Docstrings: the next argument in the docstring of a Python function is the next one in its definition.

The task of Heimersheim and Janiak 2023 (A circuit for Python docstrings in a 4-layer attention-only transformer):

    def port(self, load, size, file, last):
        \"\"\"oil column piece

        :param load: crime population
        :param size: unit dark
        :param

→ " file". All other arguments are distractors.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Final, Literal

from pydantic import Field
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.tasks.induction import WORDS as SHORT_WORDS
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

WORDS: Final = tuple(
    dict.fromkeys(
        """
        load size file last port oil column piece crime population unit dark image model name order user group table
        value shape state event test path part point field space water paper board sound story level action result
        window model sheet train light heart plan cost line page date host key list parent section
        """.split()
    )
    | dict.fromkeys(SHORT_WORDS)
)
N_WORDS: Final = 13
"""The number of words that are drawn for a prompt: 4 arguments, 8 others, and one for its twin."""

_TEXT: Final = (
    'def {0}(self, {4}, {5}, {6}, {7}):\n    """{1} {2} {3}\n\n    :param {8}: {10} {11}\n    :param {9}: {12} {13}\n'
    "    :param"
)


class DocstringTask(Task):
    """Beginnings of Python functions from a seed, with words that are single tokens of the model's tokenizer."""

    name: str = "docstring"
    n: int = Field(32, ge=1)
    """The number of prompts."""

    seed: int = Field(0, ge=0)
    corruption: Literal["swap", "random"] = "swap"
    """`swap` exchanges the answer and the last argument in the definition, so that the other one is right. `random`
    replaces the answer in the definition by a word that is not an argument: it cannot be known."""

    @property
    @override
    def title(self) -> str:
        return f"{self.name} ({self.corruption}){self.selection}"  # recovery depends on the corruption

    @override
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """Return prompts that end before the third argument.

        Labels: BOS (if prompts have it), A_def, B_def, C_def and D_def (the arguments in the definition), A_doc and
        B_doc (those in the docstring) and END. Parts of the prompts that must not share names differ in the third
        and fourth argument. Raises a `LabError` if too few words are single tokens.
        """
        words = [word for word in WORDS if tokens.single(f" {word}") is not None]
        if len(words) < N_WORDS:
            raise LabError(
                f"task=docstring: this model's tokenizer has {len(words)} of {len(WORDS)} words as single tokens, at "
                f"least {N_WORDS} are needed"
            )
        rng = random.Random(self.seed)
        return PromptPairs([self._pair(rng.sample(words, N_WORDS), tokens) for _ in range(self.n)])

    def _pair(self, words: list[str], tokens: Tokens) -> PromptPair:
        (a, b, c, d), others, unknown = words[:4], words[4:12], words[12]
        in_twin = (d, c) if self.corruption == "swap" else (unknown, d)
        clean, corrupted = (
            _TEXT.format(*others[:4], a, b, *third_and_fourth, a, b, *others[4:])
            for third_and_fourth in ((c, d), in_twin)
        )
        pair = PromptPair.build(
            tokens,
            clean,
            corrupted,
            f" {c}",
            [f" {word}" for word in (a, b, d)],
            partial(_labels, (a, b, c, d), tokens),
        )
        return replace(pair, topics=(c, d))


def _labels(arguments: tuple[str, ...], tokens: Tokens, ids: tuple[int, ...]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for name, word in zip("ABCD", arguments, strict=True):
        own = tokens.single(f" {word}")
        places = [place for place, token in enumerate(ids) if token == own]
        labels |= {f"{name}_{where}": place for where, place in zip(("def", "doc"), places, strict=False)}
    return labels
