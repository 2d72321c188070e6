"""Greater-than: "The war lasted from the year 1732 to the year 17" → any two digits above 32.

The task of Hanna, Liu and Variengien 2023 (How does GPT-2 compute greater-than?, arXiv 2305.00586). Answers are all
years of the century after the first one, distractors all others, so that the logit difference is the log of the ratio
of their probabilities. The corrupted prompt starts in the year 01 of the century, after which nearly every year comes.

Tokenizers that write a year as two tokens (GPT-2: " 17", "32") are asked for both digits at once, as in the paper.
Tokenizers that write each digit as a token (SmolLM2, Llama 2) are asked for the next digit, the tens: answers are the
digits above the tens of the first year, distractors those below. The same digit may be right or wrong, and is neither.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from pydantic import Field
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.tasks.label_columns import label_places
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

NOUNS: Final = tuple(
    """
    war siege reign voyage campaign trial famine drought plague strike truce alliance project expedition conflict
    rebellion dispute journey exhibition occupation blockade crisis debate dynasty epidemic festival tour migration
    marriage partnership pilgrimage raid search service study survey travel treaty winter work
    """.split()
)
CENTURIES: Final = tuple(range(11, 18))

_TEXT: Final = "The {noun} lasted from the year {first} to the year {century}"
_EXAMPLE: Final = (17, 32)

Kind = Literal["pairs", "digits"]
"""How the last two digits of a year are written: as one token, or as two."""

Written = Mapping[tuple[int, int], Kind | None]
"""How each year is written, by its century and its last two digits; None for any other way."""


class GreaterThanTask(Task):
    """Greater-than prompts from a seed: the end of a stretch of time comes after its start."""

    name: str = "greater_than"
    n: int = Field(32, ge=1)
    """The number of prompts."""

    seed: int = Field(0, ge=0)

    @override
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """Return prompts with sets of digits as answers and distractors.

        Labels: BOS (if prompts have it), NOUN, YY (the last two digits of the first year, or their tens) and END. Parts
        of the prompts that must not share names differ in nouns and in YY. Raises a `LabError` for a tokenizer that
        writes years in any other way.
        """
        written = {(century, year): _written(tokens, century, year) for century in CENTURIES for year in range(100)}
        kind = written[_EXAMPLE]
        firsts = range(2, 99) if kind == "pairs" else range(10, 90)
        years = [at for at, how in written.items() if at[1] in firsts and how == written[at[0], 1] == kind]
        if kind is None or not years:
            raise LabError(_refusal(tokens))
        rng = random.Random(self.seed)
        drawn = [(rng.choice(NOUNS), *rng.choice(years)) for _ in range(self.n)]
        return PromptPairs([_pair(tokens, written, *each) for each in drawn])


def _pair(tokens: Tokens, written: Written, noun: str, century: int, year: int) -> PromptPair:
    clean, corrupted = (_TEXT.format(noun=noun, first=f"{century}{first:02d}", century=century) for first in (year, 1))
    if written[century, year] == "pairs":
        ends = [end for end in range(100) if written[century, end] == "pairs"]
        answers = [f"{end:02d}" for end in ends if end > year]
        distractors = [f"{end:02d}" for end in ends if end <= year]
        yy = f"the year {century}{year:02d}"
    else:
        tens = year // 10
        answers, distractors = list(map(str, range(tens + 1, 10))), list(map(str, range(tens)))
        yy = f"the year {century}{tens}"
    labels = {"NOUN": f"The {noun}", "YY": yy}
    pair = PromptPair.build(
        tokens, clean, corrupted, answers, distractors, lambda _: label_places(tokens, clean, labels)
    )
    return replace(pair, topics=(noun, f"{year:02d}"))


def _written(tokens: Tokens, century: int, year: int) -> Kind | None:
    before, ids = tokens.encode(f"the year {century}"), tokens.encode(f"the year {century}{year:02d}")
    if ids[: len(before)] != before:
        return None
    rest = ids[len(before) :]
    if rest == (tokens.single(f"{year:02d}"),):
        return "pairs"
    return "digits" if rest == tuple(tokens.single(digit) for digit in f"{year:02d}") else None


def _refusal(tokens: Tokens) -> str:
    century, year = _EXAMPLE
    before, ids = tokens.encode("the year"), tokens.encode(f"the year {century}{year}")
    parts = tokens.strings(ids)[len(before) :]
    return (
        f"task=greater_than: this model's tokenizer writes the year {century}{year} as {' '.join(map(repr, parts))}, "
        "expected two tokens of two digits each, or one for each digit"
    )
