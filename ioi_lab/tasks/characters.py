"""Characters in prompts that are easily overlooked and change the tokens."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ioi_lab.tasks.tokens import Tokens

_STRAIGHT: Final = str.maketrans({**dict.fromkeys("“”„‟", '"'), **dict.fromkeys("‘’‚‛", "'")})

OVERLOOKED: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "end with a blank or a line break": ("without it", str.rstrip),
    "have typographic quotes": ("with straight quotes", lambda text: text.translate(_STRAIGHT)),
    "have special blanks, such as non-breaking ones": (
        "with plain blanks",
        lambda text: re.sub("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]", " ", text),
    ),
    "have invisible characters": ("without them", lambda text: re.sub("[\u00ad\u200b\u2060\ufeff]", "", text)),
    "have accents that are characters of their own": (
        "with composed letters",
        lambda text: unicodedata.normalize("NFC", text),
    ),
}
"""What may be wrong with a prompt; for each, how the mended prompt is described, and a function that returns it."""


def notes_on_characters(prompts: Mapping[str, str], tokens: Tokens) -> tuple[str, ...]:
    """Return a sentence for each kind of overlooked character in the prompts, with what it does to the tokens.

    Args:
        prompts: The prompts by their places, such as `clean in row 2`.
        tokens: The tokenizer.

    """
    notes = []
    for problem, (mended, mend) in OVERLOOKED.items():
        found = [place for place, text in prompts.items() if mend(text) != text]
        if found:
            text = prompts[found[0]]
            now, then = (_described(version, tokens) for version in (text, mend(text)))
            notes.append(f"{len(found)} of {len(prompts)} prompts {problem}: {found[0]} has {now}; {mended}: {then}")
    return tuple(notes)


def _described(text: str, tokens: Tokens) -> str:
    ids = tokens.encode(text)
    return f"{len(ids)} tokens, the last {''.join(tokens.strings(ids[-1:]))!r}"
