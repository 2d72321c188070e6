"""Answers and distractors of a prompt: one token each, or sets of tokens whose probabilities are added up.

In files of prompts, and on the command line, a set is a JSON list of texts: `[" is", " was"]`. No text that is one
token looks like that, so a set is never mistaken for a text, whatever characters its texts have.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ioi_lab.errors import LabError

if TYPE_CHECKING:
    from ioi_lab.tasks.tokens import Tokens

MAX_NAMED: Final = 3
"""The largest number of answers that a figure names."""


def as_set(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return one text, or several, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value)


def as_cell(texts: Sequence[str]) -> str:
    """Return answers as they are written in a file: one as its text, several as a JSON list."""
    return texts[0] if len(texts) == 1 else json.dumps(list(texts), ensure_ascii=False)


def in_short(texts: Sequence[str], noun: str) -> str:
    """Return answers as a figure names them: the texts, in quotes, or the number of them if they are many."""
    if len(texts) > MAX_NAMED:
        return f"{len(texts)} {noun}"
    return ", ".join(f"“{text.strip()}”" for text in texts)


def from_cell(cell: str) -> tuple[str, ...]:
    """Return the answers in a cell: the texts of a JSON list, or else the cell as it is."""
    if _looks_like_list(cell):
        try:
            listed = json.loads(cell)
        except (ValueError, RecursionError):
            return (cell,)
        if listed and all(isinstance(text, str) for text in listed):
            return tuple(listed)
    return (cell,)


def distinct_ids(
    tokens: Tokens, answers: Sequence[str], distractors: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the tokens of answers and distractors; raises a `LabError` unless each is a token of its own."""
    answer_ids, distractor_ids = (
        tuple(single_token(tokens, text, role) for text in texts)
        for texts, role in ((answers, "answer"), (distractors, "distractor"))
    )
    if both := set(answer_ids) & set(distractor_ids):
        text = answers[min(answer_ids.index(token) for token in both)]
        raise LabError(f"answer and distractor are the same token {text!r}")
    for ids, texts, role in ((answer_ids, answers, "answer"), (distractor_ids, distractors, "distractor")):
        token, count = Counter(ids).most_common(1)[0]
        if count > 1:
            raise LabError(f"{role} {texts[ids.index(token)]!r} is in the list {count} times; expected each text once")
    return answer_ids, distractor_ids


def single_token(tokens: Tokens, text: str, role: str) -> int:
    """Return the id of a token's text; raises a `LabError` that begins with its `role` unless it is one token."""
    token = tokens.single(text)
    if token is None:
        raise LabError(f"{role} {text!r} is not exactly one token of this model{_hint(tokens, text)}")
    return token


def only_one(ids: Sequence[int], noun: str, prompt: str) -> int:
    """Return the only token of a set; raises a `LabError` that says which prompt has several."""
    if len(ids) > 1:
        raise LabError(
            f"task: this needs prompts with one answer and one distractor, but {prompt!r} has {len(ids)} {noun}; "
            "choose other prompts, or a measurement of logit differences and probabilities"
        )
    return ids[0]


def _hint(tokens: Tokens, text: str) -> str:
    """Return which text close to this one is a single token, for the end of an error."""
    if _looks_like_list(text):
        return """; several texts are a JSON list, in double quotes: [" is", " was"]"""
    plain = " ".join(text.split())
    single = next((close for close in (f" {plain}", plain) if plain and tokens.single(close) is not None), None)
    if single is not None:
        return f"; {single!r} is, {'with its leading space' if single.startswith(' ') else 'without a blank'}"
    return "" if text.startswith(" ") else " (a leading space may be missing)"


def _looks_like_list(cell: str) -> bool:
    return cell.strip()[:1] == "[" and cell.strip()[-1:] == "]"
