from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from ioi_lab.tasks.characters import notes_on_characters
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder

PLAIN = 'Then John said "I\'m in a café" to'


@pytest.fixture(scope="module")
def tokens():
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (PLAIN + " ", "end with a blank or a line break"),
        (PLAIN + "\n", "end with a blank or a line break"),
        (PLAIN.replace('"', "”"), "have typographic quotes"),
        (PLAIN.replace("'", "’"), "have typographic quotes"),
        (PLAIN.replace(" in a", "\u00a0in a"), "have special blanks"),
        (PLAIN.replace(" in a", " in\u200b a"), "have invisible characters"),
        (PLAIN.replace("é", "e\u0301"), "have accents that are characters of their own"),
    ],
)
def test_a_note_says_what_the_characters_do_to_the_tokens(tokens, changed, problem):
    (note,) = notes_on_characters({"clean in row 2": PLAIN, "clean in row 3": changed}, tokens)
    assert note.startswith(f"1 of 2 prompts {problem}")
    now, then = (tokens.tokenizer("<|endoftext|>" + text).input_ids for text in (changed, PLAIN))
    assert f": clean in row 3 has {len(now)} tokens, the last {tokens.tokenizer.decode(now[-1])!r}; with" in note
    assert note.endswith(f": {len(then)} tokens, the last ' to'")


def test_plain_prompts_have_no_notes(tokens):
    assert notes_on_characters({"clean in row 2": PLAIN, "corrupt in row 2": "Zoë says “"[:-2]}, tokens) == ()
