"""Indirect object identification: "When John and Mary went to the store, John gave a drink to" → " Mary".

The task of Wang et al. 2022 (Interpretability in the Wild, arXiv 2211.00593): the answer is the indirect object (IO),
the distractor is the subject (S), who is named twice.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from ioi_lab.errors import LabError
from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES, TEMPLATES
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

MIN_NAMES: Final = 10
"""Fewer single-token names than this give prompts too alike to mean anything."""

Order = Literal["abba", "baba"]


@dataclass(frozen=True)
class Scene:
    """One clean sentence before it is written: who, where, what, and who is named first."""

    template: str
    order: Order
    io: str
    subject: str
    place: str
    object: str

    def text(self, io: str, subject: str, second_subject: str) -> str:
        """The prompt with these names in the roles of IO, S1 and S2."""
        first, second = (io, subject) if self.order == "abba" else (subject, io)
        return self.template.format(A=first, B=second, S=second_subject, place=self.place, object=self.object)


class IOITask(Task):
    """`n` IOI prompts from a seed: the same seed gives the same prompts on every machine.

    `order`: `abba` names IO first, `baba` S first, `mixed` alternates. `corruption`: `s2` turns the second S into
    the IO (one token changes, and the right answer becomes S); `swap` flips the two names throughout (likewise);
    `abc` puts three unrelated names in (Wang et al. 2022, appendix: no name is right). `template`: `all`, or the
    index of one sentence, which makes all prompts of one length where the tokenizer allows.
    """

    n: int = Field(ge=1)
    seed: int = Field(ge=0)
    order: Literal["abba", "baba", "mixed"]
    corruption: Literal["s2", "swap", "abc"]
    template: Literal["all"] | Annotated[int, Field(ge=0, lt=len(TEMPLATES))]

    @property
    def title(self) -> str:
        """Such as `ioi (s2)`: the corruption decides what recovery means."""
        return f"{self.name} ({self.corruption})"

    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """The prompts for this tokenizer, with labels BOS (if there is one), IO, S1, S1+1, S2 and END."""
        names = single_token_names(tokens)
        rng = random.Random(self.seed)
        return PromptPairs([self._pair(i, names, rng, tokens) for i in range(self.n)])

    def _pair(self, index: int, names: list[str], rng: random.Random, tokens: Tokens) -> PromptPair:
        io, subject, *unrelated = rng.sample(names, 5)
        scene = Scene(self._template(index), self._order(index), io, subject, rng.choice(PLACES), rng.choice(OBJECTS))
        clean = scene.text(io, subject, subject)
        corrupted = {
            "s2": scene.text(io, subject, io),
            "swap": scene.text(subject, io, io),
            "abc": scene.text(*unrelated),
        }[self.corruption]
        return PromptPair.build(
            tokens, clean, corrupted, f" {io}", f" {subject}", lambda ids: _labels(ids, io, subject, tokens)
        )

    def _order(self, index: int) -> Order:
        if self.order == "mixed":
            return "abba" if index % 2 == 0 else "baba"
        return self.order

    def _template(self, index: int) -> str:
        if self.template == "all":
            # Both orders of a sentence come one after the other, so that `mixed` balances order within sentences.
            return TEMPLATES[index // 2 % len(TEMPLATES)]
        return TEMPLATES[self.template]


def single_token_names(tokens: Tokens) -> list[str]:
    """The names that are one token after a space; a `LabError` if they are too few to work with."""
    names = [name for name in NAMES if tokens.single(f" {name}") is not None]
    if len(names) < MIN_NAMES:
        raise LabError(
            f"task=ioi: this model's tokenizer has {len(names)} of {len(NAMES)} names as single tokens, at least "
            f"{MIN_NAMES} are needed; use task=pairs with answers that are single tokens"
        )
    return names


def _labels(ids: tuple[int, ...], io: str, subject: str, tokens: Tokens) -> dict[str, int]:
    """Where the names stand in the clean prompt: S twice, IO once."""
    io_id, subject_id = tokens.single(f" {io}"), tokens.single(f" {subject}")
    first, second = (position for position, token in enumerate(ids) if token == subject_id)
    return {"IO": ids.index(io_id), "S1": first, "S1+1": first + 1, "S2": second}
