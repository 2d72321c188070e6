"""Indirect object identification: "When John and Mary went to the store, John gave a drink to" → " Mary".

The task of Wang et al. 2022 (Interpretability in the Wild, arXiv 2211.00593): the answer is the indirect object (IO),
the distractor is the subject (S), who is named twice.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from ioi_lab.errors import LabError
from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES, TEMPLATES
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.tokens import Tokens

MIN_NAMES: Final = 10
"""The smallest number of single-token names: with fewer, the prompts would be too similar to one another."""

Order = Literal["abba", "baba"]


N_DRAWN_NAMES: Final = 5
"""The number of names that are drawn for a prompt: IO, S, and three unrelated ones."""


class IOITask(Task):
    """IOI prompts from a seed: the same seed gives the same sentences, names and order on every machine.

    Models share them too, except for names that are not single tokens of a model's tokenizer, which are replaced.
    """

    name: str = "ioi"
    n: int = Field(32, ge=1)
    """The number of prompts."""

    seed: int = Field(0, ge=0)
    order: Literal["abba", "baba", "mixed"] = "mixed"
    """`abba` names the IO first, `baba` the S first, `mixed` alternates; each sentence gets both orders in turn."""

    corruption: Literal["s2", "swap", "abc"] = "s2"
    """`s2` replaces the second S by the IO: one token changes, and the right answer becomes S. `swap` exchanges the two
    names throughout, with the same effect. `abc` replaces the names by three unrelated ones, none of which is a right
    answer (Wang et al. 2022, appendix)."""

    template: Literal["all"] | Annotated[int, Field(ge=0, lt=len(TEMPLATES))] = "all"
    """`all`, or the index of one sentence; all prompts then have one length if the tokenizer allows it."""

    prompt: str | None = None
    """One sentence of the user's, instead of drawn ones, in which the answer is named once and the distractor twice."""

    answer: str | None = None
    """The name that is the answer to `prompt`; not needed if `NAMES` has it."""

    distractor: str | None = None
    """The name that is the distractor of `prompt`; not needed if `NAMES` has it."""

    @model_validator(mode="after")
    def _names_belong_to_a_prompt(self) -> IOITask:
        if self.prompt is None and (self.answer, self.distractor) != (None, None):
            raise LabError("task.prompt: got None, but task.answer and task.distractor name people in it; give it too")
        if self.prompt is not None:
            _people(self.prompt, self.answer, self.distractor)
        return self

    @property
    @override
    def title(self) -> str:
        return f"{self.name} ({self.corruption}){self.selection}"  # recovery depends on the corruption

    @override
    def prompt_pairs(self, tokens: Tokens) -> PromptPairs:
        """Return the prompts for this tokenizer, with the labels BOS (if prompts have it), IO, S1, S1+1, S2 and END.

        Raises a `LabError` if too few names, or a name in `prompt`, are single tokens.
        """
        single = single_token_names(tokens)
        rng = random.Random(self.seed)
        if self.prompt is not None:
            return PromptPairs([self._own_pair(self.prompt, single, rng, tokens)])
        pairs, n_replaced = [], 0
        for index in range(self.n):
            names, replaced = drawn_names(rng, frozenset(single))
            n_used = N_DRAWN_NAMES if self.corruption == "abc" else 2
            n_replaced += sum(replaced[:n_used])
            pairs.append(self._drawn_pair(index, names, rng, tokens))
        what = f"{n_replaced} of the drawn names are not single tokens of this model, and others take their place"
        return PromptPairs(pairs, notes=(what,) if n_replaced else ())

    def _drawn_pair(self, index: int, names: list[str], rng: random.Random, tokens: Tokens) -> PromptPair:
        io, subject, *unrelated = names
        first, second = ("{IO}", "{S1}") if self._order(index) == "abba" else ("{S1}", "{IO}")
        template = self._template(index)
        frame = template.format(A=first, B=second, S="{S2}", place="{place}", object="{object}")
        scene = {"place": rng.choice(PLACES), "object": rng.choice(OBJECTS)}
        pair = self._pair(filled(frame, scene), io, subject, unrelated, tokens)
        return replace(pair, frame=frame, group=template)

    def _own_pair(self, prompt: str, names: list[str], rng: random.Random, tokens: Tokens) -> PromptPair:
        io, subject = _people(prompt, self.answer, self.distractor)
        slots = iter(("{S1}", "{S2}"))
        escaped = prompt.replace("{", "{{").replace("}", "}}")
        sentence = re.sub(_word(subject), lambda _: next(slots), re.sub(_word(io), "{IO}", escaped))
        unrelated = rng.sample([name for name in names if name not in (io, subject)], 3)
        try:
            return replace(self._pair(sentence, io, subject, unrelated, tokens), frame=sentence)
        except LabError as error:
            raise LabError(f"task.prompt: {error}") from error

    def _pair(self, sentence: str, io: str, subject: str, unrelated: list[str], tokens: Tokens) -> PromptPair:
        """Return the pair of a sentence with the slots `{IO}`, `{S1}` and `{S2}`."""
        people = {"s2": (io, subject, io), "swap": (subject, io, io), "abc": tuple(unrelated)}[self.corruption]
        clean, corrupted = (
            sentence.format(IO=names[0], S1=names[1], S2=names[2]) for names in ((io, subject, subject), people)
        )
        return PromptPair.build(
            tokens, clean, corrupted, f" {io}", f" {subject}", lambda ids: _labels(ids, io, subject, tokens)
        )

    def _order(self, index: int) -> Order:
        if self.order == "mixed":
            n_rounds = index // len(TEMPLATES)  # each round has the sentences of the last one in the other order
            return "abba" if (index + n_rounds) % 2 == 0 else "baba"
        return self.order

    def _template(self, index: int) -> str:
        return TEMPLATES[index % len(TEMPLATES) if self.template == "all" else self.template]


def single_token_names(tokens: Tokens) -> list[str]:
    """Return the names that are one token after a space; raises a `LabError` if there are fewer than `MIN_NAMES`."""
    names = [name for name in NAMES if tokens.single(f" {name}") is not None]
    if len(names) < MIN_NAMES:
        raise LabError(
            f"task=ioi: this model's tokenizer has {len(names)} of {len(NAMES)} names as single tokens, at least "
            f"{MIN_NAMES} are needed; use task=pairs with answers that are single tokens"
        )
    return names


def drawn_names(rng: random.Random, allowed: Collection[str]) -> tuple[list[str], list[bool]]:
    """Return `N_DRAWN_NAMES` different names, and whether each takes the place of a name that is not `allowed`.

    `rng` advances by the same amount whatever is allowed, and allowed names are the same for every tokenizer.
    """
    drawn = rng.sample(NAMES, len(NAMES))
    spare = (name for name in drawn[N_DRAWN_NAMES:] if name in allowed)
    replaced = [name not in allowed for name in drawn[:N_DRAWN_NAMES]]
    names = [next(spare) if gone else name for name, gone in zip(drawn, replaced, strict=False)]
    return names, replaced


def filled(frame: str, scene: Mapping[str, str]) -> str:
    """Return a frame with some of its slots filled, and the slots of the names left."""
    return frame.format(IO="{IO}", S1="{S1}", S2="{S2}", **scene)


def _people(prompt: str, answer: str | None, distractor: str | None) -> tuple[str, str]:
    """Return the names of IO and S in the user's sentence.

    Raises a `LabError` if they cannot be inferred, or if the sentence does not have the IO once and the S twice.
    """
    words = Counter(re.findall(r"\w+", prompt))
    named = [name for name in words if name in NAMES]
    once, twice = ([name for name in named if words[name] == count] for count in (1, 2))
    io = answer.strip() if answer else once[0] if len(once) == 1 else None
    subject = distractor.strip() if distractor else twice[0] if len(twice) == 1 else None
    if io is None or subject is None:
        raise LabError(
            f"task.prompt: cannot infer from {prompt!r} who is who; give the names with task.answer (in it once) and "
            "task.distractor (twice), or use task=pairs for prompts of any kind"
        )
    if io == subject:
        raise LabError(f"task.answer: got {io!r}, which is the distractor too; they must differ")
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
    """Return the positions of the names in the clean prompt; raises a `LabError` if they are not single tokens."""
    names = [tokens.single(f" {name}") for name in (io, subject)]
    positions = [[position for position, token in enumerate(ids) if token == name] for name in names]
    if [len(each) for each in positions] != [1, 2]:
        raise LabError(f"{io!r} and {subject!r} must be single tokens, each time after a space")
    (indirect,), (first, second) = positions
    return {"IO": indirect, "S1": first, "S1+1": first + 1, "S2": second}
