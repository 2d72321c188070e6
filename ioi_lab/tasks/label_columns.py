"""Columns `label:NAME` of a file of prompts: the tokens at which position labels stand.

A cell has a text that is in the clean prompt once; the label is at the last token of this text. If a word is there
several times, the cell has the words before it too: `store, John`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ioi_lab.errors import LabError

if TYPE_CHECKING:
    from ioi_lab.tasks.tokens import Tokens

PREFIX: Final = "label:"
RESERVED: Final = ("BOS", "END", "all", "each", "mixed")
"""Words that stand for other positions."""

_COLUMN: Final = re.compile(r"\s*label\s*:(.*)", re.IGNORECASE | re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z][\w+.\'-]*")


def label_columns(names: Sequence[str], source: str) -> dict[str, str]:
    """Return the label of each column that has one, by the column's name.

    Args:
        names: The names of all columns.
        source: The key and the file, for errors.

    Raises:
        LabError: If a label is not a word, is one of `RESERVED`, or has two columns.

    """
    labels: dict[str, str] = {}
    for name in names:
        if not (found := _COLUMN.fullmatch(name)):
            continue
        label = found[1].strip()
        if not _NAME.fullmatch(label) or label in RESERVED:
            raise LabError(
                f"{source}, column {name!r}: got the label {label!r}, expected a word such as S2, other than "
                f"{', '.join(RESERVED)}"
            )
        if label in labels.values():
            raise LabError(f"{source} has two columns for the label {label!r}; expected one")
        labels[name] = label
    return labels


def label_places(tokens: Tokens, clean: str, labels: Mapping[str, str]) -> dict[str, int]:
    """Return the index of the token at which each label stands.

    Args:
        tokens: The tokenizer.
        clean: The clean prompt.
        labels: The text of each label.

    Raises:
        LabError: A text is not in the prompt, or more than once; or it ends within a token.

    """
    if not labels:
        return {}
    ids, ends = tokens.encode_with_ends(clean)
    places = {}
    for label, text in labels.items():
        column = f"the column {PREFIX + label!r} is {text!r}"
        count = len(re.findall(f"(?={re.escape(text)})", clean))
        if count == 0:
            raise LabError(f"{column}, which is not in the clean prompt {clean!r}")
        if count > 1:
            raise LabError(
                f"{column}, which is {count} times in the clean prompt {clean!r}; write more of the words in front of "
                "the one that is meant"
            )
        end = clean.index(text) + len(text)
        at_end = [place for place, token_end in enumerate(ends) if token_end == end]
        if not at_end:
            place = next(place for place, token_end in enumerate(ends) if token_end > end)
            raise LabError(f"{column}, which ends within the token {tokens.strings(ids)[place]!r}")
        places[label] = at_end[-1]
    return places
