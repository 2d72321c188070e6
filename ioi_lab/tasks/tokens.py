"""Text ↔ token ids for one model's tokenizer, in the few ways that tasks need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ioi_lab.errors import LabError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Tokens:
    """A Hugging Face tokenizer with the choice of whether prompts start with its BOS token."""

    tokenizer: PreTrainedTokenizerBase
    prepend_bos: bool

    def __post_init__(self) -> None:
        if self.prepend_bos and self.tokenizer.bos_token_id is None:
            raise LabError("model.prepend_bos: got True, but this tokenizer has no BOS token; expected False")

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a prompt, with BOS in front where the model's config asks for it."""
        bos = (self.tokenizer.bos_token_id,) if self.prepend_bos else ()
        return bos + tuple(self._plain(text))

    def encode_with_ends(self, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that `encode` gives, and how many characters of the text each has behind it at its end (BOS: 0).

        Raises a `LabError` for a tokenizer that does not know where in the text its tokens are.
        """
        if not self.tokenizer.is_fast:
            raise LabError("model: its tokenizer does not tell where in the text tokens are; a fast one is needed")
        read = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, ends = tuple(read.input_ids), tuple(end for _, end in read.offset_mapping)
        bos = self.encode("")[:1] if self.prepend_bos else ()
        return bos + ids, (0,) * len(bos) + ends

    def strings(self, ids: tuple[int, ...]) -> tuple[str, ...]:
        """Each token as the text that it stands for."""
        return tuple(self.tokenizer.decode([token]) for token in ids)

    def text(self, ids: tuple[int, ...]) -> str:
        """The text of a prompt's tokens, without the BOS in front."""
        return "".join(self.strings(ids[1 if self.prepend_bos else 0 :])).strip()

    def single(self, text: str) -> int | None:
        """The id of `text` (leading space included) if it is exactly one token, else None."""
        ids = self._plain(text)
        return ids[0] if len(ids) == 1 else None

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)
