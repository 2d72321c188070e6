"""A model's tokenizer with the few operations that tasks need.

Tokenizers of the SentencePiece kind (Llama 2) put a space in front of every text that they encode, and take one away
from every text that they decode. Single tokens are therefore encoded and decoded as the continuation of some text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from ioi_lab.errors import LabError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTEXT: Final = "a"
"""The text that single tokens continue."""


@dataclass(frozen=True)
class Tokens:
    """A Hugging Face tokenizer, and whether prompts start with its BOS token."""

    tokenizer: PreTrainedTokenizerBase
    prepend_bos: bool

    def __post_init__(self) -> None:
        if self.prepend_bos and self.tokenizer.bos_token_id is None:
            raise LabError("model.prepend_bos: got True, but this tokenizer has no BOS token; expected False")

    @property
    def bos(self) -> tuple[int, ...]:
        """The tokens in front of every prompt: the id of BOS, or none."""
        return (int(self.tokenizer.bos_token_id),) if self.prepend_bos else ()

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a prompt, with BOS in front if `prepend_bos`."""
        return self.bos + tuple(self._plain(text))

    def encode_with_ends(self, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the ids of `encode`, and for each the number of characters up to the end of its text (0 for BOS).

        Raises a `LabError` for a tokenizer that cannot map tokens to characters.
        """
        if not self.tokenizer.is_fast:
            raise LabError("model: its tokenizer cannot map tokens to characters; a fast tokenizer is needed")
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, ends = tuple(encoding.input_ids), tuple(end for _, end in encoding.offset_mapping)
        return self.bos + ids, (0,) * len(self.bos) + ends

    def strings(self, ids: tuple[int, ...]) -> tuple[str, ...]:
        """Return the text of each token as it continues other text: with its leading space, if it has one."""
        before, special = list(self._context), set(self.tokenizer.all_special_ids)
        start = self._decode(before)
        return tuple(
            self._decode([token]) if token in special else self._decode([*before, token]).removeprefix(start)
            for token in ids
        )

    def text(self, ids: tuple[int, ...]) -> str:
        """Return the text of a prompt's tokens, without the BOS in front."""
        return "".join(self.strings(ids[len(self.bos) :])).strip()

    def single(self, text: str) -> int | None:
        """Return the id of `text` (with its leading space) if it is exactly one token, else None.

        It is the token that continues a prompt. Without a leading space in `text`, it is the token at the start of a
        prompt, which is the same one for tokenizers that put a space there.
        """
        ids = self._plain(text)
        if text.startswith(" "):
            continued = tuple(self._plain(_CONTEXT + text))
            n_before = len(self._context)
            ids = list(continued[n_before:]) if continued[:n_before] == self._context else ids
        return ids[0] if len(ids) == 1 else None

    @cached_property
    def _context(self) -> tuple[int, ...]:
        return tuple(self._plain(_CONTEXT))

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _decode(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        return text
