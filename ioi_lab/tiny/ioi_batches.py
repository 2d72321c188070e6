"""IOI prompts with counterfactual twins, drawn by the thousand as tensors, for the training of planted circuits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES, TEMPLATES
from ioi_lab.tiny.corpus import is_held_out


@dataclass(frozen=True)
class PromptBatch:
    """Prompts, padded on the right, and for each another prompt of the same length, in IOI of the same sentence.

    Some of the other prompts are IOI prompts too; the neutral ones have three unrelated names: nobody is named twice,
    and there is no answer. Names, place and object are drawn anew.
    """

    tokens: Tensor
    """`[batch, pos]`."""

    counterfactual: Tensor
    """The other prompts, `[batch, pos]`."""

    neutral: Tensor
    """Whether the other prompt has three unrelated names, `[batch]`."""

    end: Tensor
    """The position of END, `[batch]`."""

    answer: Tensor
    distractor: Tensor
    """The token ids of answer and distractor, in IOI the two names, `[batch]`."""


class IOISampler:
    """Draws batches of IOI prompts, with pairs of names that are held out or with those that are not."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seed: int, *, held_out: bool = False) -> None:
        """Draw prompts whose pair of names is held out (`is_held_out`), or whose pair is not."""
        self._rng = torch.Generator().manual_seed(seed)
        self._tokenizer = tokenizer
        self._held_out = held_out
        self._frames = [self._frame(template) for template in TEMPLATES]
        self._words = [self._ids(words) for words in (NAMES, PLACES, OBJECTS)]

    def batch(self, size: int, *, neutral_share: float = 0.5) -> PromptBatch:
        """Return the next batch; its sentences take turns, and the order of the names is drawn."""
        rows = torch.arange(size) % len(self._frames)
        frames = torch.nn.utils.rnn.pad_sequence(
            [ids for ids, _ in self._frames], batch_first=True, padding_value=self._tokenizer.bos_token_id
        )
        slots = torch.nn.utils.rnn.pad_sequence([slots for _, slots in self._frames], batch_first=True)
        end = torch.tensor([len(ids) - 1 for ids, _ in self._frames])
        frames, slots = frames[rows], slots[rows]
        first, second = self._pairs(size)
        is_first = torch.rand(size, generator=self._rng) < 0.5
        subject, io = torch.where(is_first, first, second), torch.where(is_first, second, first)
        neutral = torch.rand(size, generator=self._rng) < neutral_share
        others = self._unrelated(first, second)
        is_first = torch.rand(size, generator=self._rng) < 0.5
        others[2] = torch.where(neutral, others[2], torch.where(is_first, others[0], others[1]))
        return PromptBatch(
            self._filled(frames, slots, [first, second, subject]),
            self._filled(frames, slots, others),
            neutral,
            end[rows],
            self._words[0][io],
            self._words[0][subject],
        )

    def _frame(self, template: str) -> tuple[Tensor, Tensor]:
        """Return the ids of a sentence, and which of them are slots: 1 to 5 for A, B, S, place and object, else 0."""
        words = (*NAMES[:3], PLACES[0], OBJECTS[0])
        text = template.format(**dict(zip(("A", "B", "S", "place", "object"), words, strict=True)))
        ids = torch.tensor([self._tokenizer.bos_token_id, *self._tokenizer(text, add_special_tokens=False).input_ids])
        slots = torch.zeros_like(ids)
        for slot, word in enumerate(self._ids(words)):
            slots[ids == word] = slot + 1
        return ids, slots

    def _ids(self, words: tuple[str, ...]) -> Tensor:
        """Return the id of each word after a space, which is one token."""
        encoded = self._tokenizer([f" {word}" for word in words], add_special_tokens=False).input_ids
        return torch.tensor([token for (token,) in encoded])

    @cached_property
    def _usable(self) -> Tensor:
        """The pairs of names that may be drawn, `[pair, 2]`."""
        pairs = [(a, b) for a in range(len(NAMES)) for b in range(len(NAMES)) if a != b]
        return torch.tensor([(a, b) for a, b in pairs if is_held_out(NAMES[a], NAMES[b]) == self._held_out])

    def _pairs(self, size: int) -> Tensor:
        """Return two names for each prompt, `[2, batch]`."""
        return self._usable[torch.randint(len(self._usable), (size,), generator=self._rng)].T

    def _unrelated(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Return three names for each prompt that differ from its two and from one another."""
        scores = torch.rand(len(first), len(NAMES), generator=self._rng)
        rows = torch.arange(len(first))
        scores[rows, first] = scores[rows, second] = -1
        return list(scores.topk(3).indices.T)

    def _filled(self, frames: Tensor, slots: Tensor, names: list[Tensor]) -> Tensor:
        scene = [torch.randint(len(words), (len(frames),), generator=self._rng) for words in self._words[1:]]
        ids = [*(self._words[0][name] for name in names), *(w[s] for w, s in zip(self._words[1:], scene, strict=True))]
        tokens = frames.clone()
        for slot, word in enumerate(ids):
            tokens = torch.where(slots == slot + 1, word[:, None], tokens)
        return tokens
