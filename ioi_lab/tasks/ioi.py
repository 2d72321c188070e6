"""Indirect object identification: "When John and Mary went to the store, John gave a drink to" → " Mary".

The task of Wang et al. 2022 (Interpretability in the Wild, arXiv 2211.00593): the answer is the indirect object (IO),
the distractor is the subject (S), who is named twice.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from ioi_lab.errors import LabError
from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES, TEMPLATES
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

MIN_NAMES: Final = 10
"""Fewer single-token names than this give prompts too alike to mean anything."""

Order = Literal["abba", "baba"]


class IOITask(Task):
    """`n` IOI prompts from a seed: the same seed gives the same prompts on every machine.

    `order`: `abba` names IO first, `baba` S first, `mixed` alternates. `corruption`: `s2` turns the second S into
    the IO (one token changes, and the right answer becomes S); `swap` flips the two names throughout (likewise);
    `abc` puts three unrelated names in (Wang et al. 2022, appendix: no name is right). `template`: `all`, or the
    index of one sentence, which makes all prompts of one length where the tokenizer allows. `prompt`: this one sentence
    instead of drawn ones, with the names `answer` (in it once) and `distractor` (twice), which need not be given where
    they are common ones.
    """

    n: int = Field(ge=1)
    seed: int = Field(ge=0)
    order: Literal["abba", "baba", "mixed"]
    corruption: Literal["s2", "swap", "abc"]
    template: Literal["all"] | Annotated[int, Field(ge=0, lt=len(TEMPLATES))]
    prompt: str | None = None
    answer: str | None = None
    distractor: str | None = None

    @model_validator(mode="after")
    def _names_belong_to_a_prompt(self) -> IOITask:
        if self.prompt is None and (self.answer, self.distractor) != (None, None):
            raise LabError("task.prompt: got None, but task.answer and task.distractor name people in it; give it too")
        if self.prompt is not None:
            _people(self.prompt, self.answer, self.distractor)
        return self

    @property
    def title(self) -> str:
        """Such as `ioi (s2)`: the corruption decides what recovery means."""
        return f"{self.name} ({self.corruption})"

    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """The prompts for this tokenizer, with labels BOS (if there is one), IO, S1, S1+1, S2 and END."""
        names = single_token_names(tokens)
        rng = random.Random(self.seed)
        if self.prompt is not None:
            return PromptPairs([self._own_pair(self.prompt, names, rng, tokens)])
        return PromptPairs([self._drawn_pair(i, names, rng, tokens) for i in range(self.n)])

    def _drawn_pair(self, index: int, names: list[str], rng: random.Random, tokens: Tokens) -> PromptPair:
        io, subject, *unrelated = rng.sample(names, 5)
        first, second = ("{IO}", "{S1}") if self._order(index) == "abba" else ("{S1}", "{IO}")
        sentence = self._template(index).format(
            A=first, B=second, S="{S2}", place=rng.choice(PLACES), object=rng.choice(OBJECTS)
        )
        return self._pair(sentence, io, subject, unrelated, tokens)

    def _own_pair(self, prompt: str, names: list[str], rng: random.Random, tokens: Tokens) -> PromptPair:
        io, subject = _people(prompt, self.answer, self.distractor)
        slots = iter(("{S1}", "{S2}"))
        escaped = prompt.replace("{", "{{").replace("}", "}}")
        sentence = re.sub(_word(subject), lambda _: next(slots), re.sub(_word(io), "{IO}", escaped))
        unrelated = rng.sample([name for name in names if name not in (io, subject)], 3)
        try:
            return self._pair(sentence, io, subject, unrelated, tokens)
        except LabError as error:
            raise LabError(f"task.prompt: {error}") from error

    def _pair(self, sentence: str, io: str, subject: str, unrelated: list[str], tokens: Tokens) -> PromptPair:
        """The pair of a sentence with slots for IO, S1 and S2."""
        people = {"s2": (io, subject, io), "swap": (subject, io, io), "abc": tuple(unrelated)}[self.corruption]
        clean, corrupted = (
            sentence.format(IO=names[0], S1=names[1], S2=names[2]) for names in ((io, subject, subject), people)
        )
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


def _people(prompt: str, answer: str | None, distractor: str | None) -> tuple[str, str]:
    """The names of IO and S in a sentence of the user's; a `LabError` unless IO stands in it once and S twice."""
    words = Counter(re.findall(r"\w+", prompt))
    named = [name for name in words if name in NAMES]
    once, twice = ([name for name in named if words[name] == count] for count in (1, 2))
    io = answer.strip() if answer else once[0] if len(once) == 1 else None
    subject = distractor.strip() if distractor else twice[0] if len(twice) == 1 else None
    if io is None or subject is None:
        raise LabError(
            f"task.prompt: cannot tell from {prompt!r} who is who; name the people with task.answer (in it once) and "
            "task.distractor (twice), or use task=pairs for prompts of any kind"
        )
    if io == subject:
        raise LabError(f"task.answer: got {io!r}, the distractor itself; they must differ")
    counts = [len(re.findall(_word(name), prompt)) for name in (io, subject)]
    if counts != [1, 2]:
        raise LabError(
            f"task.prompt: {prompt!r} has the answer {io!r} {counts[0]} times and the distractor {subject!r} "
            f"{counts[1]} times, expected once and twice; use task=pairs for prompts of any kind"
        )
    return io, subject


def _word(name: str) -> str:
    return rf"(?<!\w){re.escape(name)}(?!\w)"


def _labels(ids: tuple[int, ...], io: str, subject: str, tokens: Tokens) -> dict[str, int]:
    """Where the names stand in the clean prompt: S twice, IO once."""
    at = [[p for p, token in enumerate(ids) if token == tokens.single(f" {name}")] for name in (io, subject)]
    if [len(places) for places in at] != [1, 2]:
        raise LabError(f"{io!r} and {subject!r} must be single tokens behind a space wherever they stand")
    (indirect,), (first, second) = at
    return {"IO": indirect, "S1": first, "S1+1": first + 1, "S2": second}
