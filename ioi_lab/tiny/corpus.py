"""The training data of the tiny models: IOI among other sentences about one, two and three people.

Some unordered pairs of names never occur in one sentence (`is_held_out`); the models are scored on these pairs. The
other sentences make shortcuts fail: a third person may act (then either of the first two may receive), subjects are
named again without giving anything, and there are sentences about one person.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from typing import Final

from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES, TEMPLATES

IOI_SHARE: Final = 0.5
"""The share of IOI sentences; some of the others have the same frame, with a third person acting."""

MARK: Final = "*"
"""In front of words that the text before them decides, in texts that mark them; no part of the text."""

ONE_NAME: Final = (
    "When {A} went to the {place}, {A} found a {object} there.",
    "Yesterday {A} left a {object} at the {place}.",
    "In the {place} {A} looked for a {object}, but {A} could not find it.",
    "Every morning {A} walks from the {place} to the {other_place}.",
    "Later {A} put the {object} next to the {other_object} and went home.",
    "The {object} in the {place} belongs to {A}.",
)
TWO_NAMES: Final = (
    "Yesterday {A} saw {B} at the {place}. Then {B} smiled at {A}.",
    "In the {place} {A} sat next to {B}, and {B} talked about the {object}.",
    "When {A} called {B}, {B} was still at the {place}.",
    "The {object} of {A} is older than the {object} of {B}.",
    "After {A} and {B} went to the {place}, {A} found a {object}.",
    "Today {A} asked {B} for a {object}. So {B} went to the {place}, and {A} waited.",
    "Both {A} and {B} like the {place}. While {B} reads a book there, {A} sleeps.",
)
THREE_NAMES: Final = (
    "Today {A}, {B} and {C} met at the {place}, and {C} found a {object}.",
    "When {A} told {B} about the {place}, {B} called {C}, and {C} laughed.",
    "In the {place} {A} saw {B} and {C}. Then {C} thanked {A} for the {object}.",
    "Last week {A} asked {B} and {C} for help, but only {B} came to the {place}.",
)


@cache
def is_held_out(name: str, other: str) -> bool:
    """Return whether a pair of words occurs in no training sentence: one pair in five, chosen by a hash."""
    digest = hashlib.sha256(" ".join(sorted((name, other))).encode()).digest()
    return digest[0] % 5 == 0


def sentence(rng: random.Random, progress: float = 1.0) -> str:
    """Return a random training sentence; `progress`, the share of the training before it, makes no difference here."""
    del progress
    kind = rng.random()
    if kind < IOI_SHARE:
        return _ioi(rng)
    makers: tuple[Callable[[random.Random], str], ...] = (
        _third_person_acts,
        lambda r: fill(r.choice(ONE_NAME), draw_names(r, 1), r),
        lambda r: fill(r.choice(TWO_NAMES), draw_names(r, 2), r),
        lambda r: fill(r.choice(THREE_NAMES), draw_names(r, 3), r),
    )
    return rng.choice(makers)(rng)


def sentences(count: int, seed: int, draw: Callable[[random.Random, float], str] = sentence) -> list[str]:
    """Return `count` training sentences from a seed, or as many texts of another corpus, as at the end of a training.

    `draw` returns a text, given the generator and the share of the training before it; marks are left out.
    """
    rng = random.Random(seed)
    return [draw(rng, 1.0).replace(MARK, "") for _ in range(count)]


def _ioi(rng: random.Random) -> str:
    first, second = draw_names(rng, 2)
    subject, io = rng.sample((first, second), 2)
    return _give(rng, first, second, giver=subject, receiver=io)


def _third_person_acts(rng: random.Random) -> str:
    first, second, third = draw_names(rng, 3)
    return _give(rng, first, second, giver=third, receiver=rng.choice((first, second)))


def _give(rng: random.Random, first: str, second: str, *, giver: str, receiver: str) -> str:
    place, thing = rng.choice(PLACES), rng.choice(OBJECTS)
    frame = rng.choice(TEMPLATES).format(A=first, B=second, S=giver, place=place, object=thing)
    return f"{frame} {receiver}."


def fill(template: str, names: Sequence[str], rng: random.Random) -> str:
    """Return a sentence with up to three names in the slots A, B and C, and with drawn places and objects."""
    place, other_place = rng.sample(PLACES, 2)
    thing, other_thing = rng.sample(OBJECTS, 2)
    people = dict(zip("ABC", names, strict=False))
    return template.format(**people, place=place, other_place=other_place, object=thing, other_object=other_thing)


def draw_names(rng: random.Random, count: int) -> list[str]:
    """Return different names, of which no two are held out."""
    while True:
        names = rng.sample(NAMES, count)
        if not any(is_held_out(*pair) for pair in combinations(names, 2)):
            return names
