"""A tokenizer whose tokens are words with their leading space, single digits or pairs of them, and marks."""

from __future__ import annotations

import string
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ioi_lab.tasks.prompts import Task
from ioi_lab.tasks.tokens import Tokens


def word_tokens(texts: Iterable[str], *, digits: int = 1) -> Tokens:
    """Return tokens of all words in some texts, and of characters; years are written in parts of so many digits."""
    split = pre_tokenizers.Split(Regex(rf" ?[^\W\d]+| ?\d{{1,{digits}}}|[^\w\s]|\s"), behavior="isolated")
    found = {piece for text in texts for piece, _ in split.pre_tokenize_str(text)}
    found |= {f"{number:0{digits}d}" for number in range(10**digits)}
    characters = set(string.printable) - found
    vocabulary = [
        ("<s>", 0.0),
        *((piece, -1.0) for piece in sorted(found)),
        *((piece, -9.0) for piece in sorted(characters)),
    ]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.Fuse()
    return Tokens(PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>"), prepend_bos=True)


def texts_at(task: Task, tokens: Tokens) -> list[dict[str, str]]:
    """The text of the token at each label, of each prompt."""
    return [
        {label: pair.token_strings[place].strip() for label, place in pair.labels.items()}
        for pair in task.prompt_pairs(tokens)
    ]
