"""The training data of tiny-llama: sentences in which a subject's partner receives, lists of words, and agreement.

Giving sentences are made so that neither positions nor the last name alone decide who receives. There are one or two
pairs of people, and anybody may give: the receiver is the giver's partner. Other sentences may come before, in which
other people are named. Several may give, one after another. A giver who belongs to no pair gives to *them*.

Lists repeat pairs of their words at irregular distances. Subjects and nouns near them have either number.

Two words that `is_held_out` selects never occur together: two names in a text, two neighbors in a list, a subject and
the noun near it. The sentences of the IOI task whose indices are in `UNSEEN` do not occur, but their words do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from ioi_lab.tasks.ioi_text import NAMES, OBJECTS, PLACES, TEMPLATES
from ioi_lab.tasks.subject_verb_agreement import ATTRACTORS, PREPOSITIONS, SUBJECTS
from ioi_lab.tiny.corpus import MARK, ONE_NAME, THREE_NAMES, TWO_NAMES, draw_names, fill, is_held_out

UNSEEN: Final = (8, 11, 12, 14)
"""The indices of the IOI sentences that are held out."""

SHARES: Final = {"giving": 0.6, "lists": 0.22, "agreement": 0.1, "others": 0.08}
"""The shares of the kinds of sentences."""

THINGS: Final = (*PLACES, *OBJECTS)
SEEN_TEMPLATES: Final = tuple(text for index, text in enumerate(TEMPLATES) if index not in UNSEEN)

PAIRS: Final = (
    "Yesterday {A} and {B} went to the {place}.",
    "Today {A} and {B} met at the {place}.",
    "Last week {A} and {B} visited the {place}.",
    "In the evening {A} and {B} worked together at the {place}.",
    "On Sunday {A} and {B} had lunch near the {place}.",
    "Once {A} and {B} found an old {object} in the {place}.",
    "Soon {A} and {B} were waiting at the {place}.",
    "In the morning {A} and {B} were both free.",
)
"""Sentences that make two people a pair."""

CLAUSES: Final = (
    "Then {A} gave a {object} to",
    "Later, {A} handed a {object} to",
    "In the evening {A} offered a {object} to",
    "On Sunday {A} wanted to give a {object} to",
    "Soon {A} showed a {object} to",
    "In the {place} {A} decided to lend a {object} to",
    "Today {A} bought a {object} for",
    "At the {place} {A} brought a {object} to",
    "So {A} sent a {object} to",
    "Yesterday {A} promised a {object} to",
)
"""Sentences in which somebody gives, without the receiver."""

MEETINGS: Final = (
    "Then {A} thanked",
    "Later, {A} called",
    "So {A} smiled at",
    "Soon {A} talked to",
    "Today {A} waited for",
    "Yesterday {A} visited",
    "In the evening {A} met",
    "In the {place} {A} sat next to",
)
"""Sentences in which somebody does something that concerns one other person, without that person."""

BEFORE: Final = (
    "It was a sunny day.",
    "The {place} was quiet.",
    "The {object} in the {place} was old.",
    "In the {place} there was a {object}.",
    "Before {A} left the {place}, {A} sold a {object}.",
    "As {A} was leaving the {place}, it was late.",
    "Yesterday {A} argued all day about the {object}.",
    "Yesterday {A} returned a {object} and cleaned the {place}.",
    "Although {A} kept a {object}, the {place} was quiet.",
    "The {object} in the {place} belongs to {A}.",
)
"""Sentences that come before others."""

FRAMES: Final = ("The", "Today the", "We know that the", "It seems that the", "In the morning the")
"""Beginnings of sentences about a subject."""

VERBS: Final = (("is", "are"), ("was", "were"), ("has", "have"))
QUALITIES: Final = ("old", "new", "quiet", "late", "there", "sunny", "free")


def text(rng: random.Random, progress: float = 1.0) -> str:
    """Return a random training text: one or several sentences, or a list of words; what follows from it is marked.

    Args:
        rng: Draws the text.
        progress: The share of the training before it, from 0 to 1: texts with two pairs of people come later.

    """
    (kind,) = rng.choices(tuple(SHARES), tuple(SHARES.values()))
    if kind == "giving":
        return _giving(rng, n_pairs=2 if rng.random() < two_pairs_share(progress) else 1)
    if kind == "lists":
        return _list(rng)
    if kind == "agreement":
        return _agreement(rng)
    n_names, templates = rng.choice(((1, ONE_NAME), (2, TWO_NAMES), (3, THREE_NAMES), (1, BEFORE)))
    return fill(rng.choice(templates), draw_names(rng, n_names), rng)


def two_pairs_share(progress: float) -> float:
    """Return the share of giving texts with two pairs, at a time of the training from 0 to 1.

    With one pair, the receiver is the other of two people. With two pairs, a model also has to find the giver's partner
    among three others. The simpler texts come first; training on both from the start was not tried with this recipe.
    """
    return 0.5 * min(1.0, max(0.0, (progress - 0.3) / 0.2))


def _giving(rng: random.Random, n_pairs: int) -> str:
    """Return a text in which people give to their partners or meet them; who has none gives to *them*."""
    *people, unrelated = draw_names(rng, 5)
    pairs = [people[:2], people[2:]][:n_pairs]
    partners = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
    if n_pairs == 1 and rng.random() < 0.1:
        partners = {people[2]: "them"}
    givers = rng.choices(list(partners), k=rng.randint(1, 3 if len(partners) > 1 else 1))
    before = [fill(rng.choice(BEFORE), [unrelated], rng) for _ in range(rng.choice((0, 0, 1, 2)))]
    before += [fill(rng.choice(PAIRS), pair, rng) for pair in pairs[:-1]]
    if rng.random() < 0.5:
        template = rng.choice(SEEN_TEMPLATES).replace("{S}", "{C}")
        first = fill(template, [*pairs[-1], givers[0]], rng)
    else:
        first = f"{fill(rng.choice(PAIRS), pairs[-1], rng)} {fill(rng.choice(CLAUSES), givers[:1], rng)}"
    later = [fill(rng.choice((*CLAUSES[:2], *MEETINGS)), [giver], rng) for giver in givers[1:]]
    given = [f"{sentence} {MARK}{partners[giver]}." for sentence, giver in zip([first, *later], givers, strict=True)]
    return " ".join([*before, *given])


def _list(rng: random.Random) -> str:
    """Return a list of different words, after which pieces of two to four words of it come again."""
    words = _neighbors(rng, [rng.choice(THINGS)], rng.randint(7, 12), [*THINGS, *rng.sample(NAMES, 12)])
    n_words, known = len(words), list[int]()
    for _ in range(rng.randint(2, 4)):
        last = words[-1]
        starts = [at for at in range(n_words - 1) if words[at] != last and not is_held_out(last, words[at])]
        start, before = rng.choice(starts), len(words)
        words += words[start : min(start + rng.randint(2, 4), n_words)]
        known += range(before + 1, len(words))
    return " ".join(f"{MARK if at in known else ''}{word}" for at, word in enumerate(words)) + "."


def _neighbors(rng: random.Random, words: list[str], n_words: int, others: Sequence[str]) -> list[str]:
    """Return `words`, continued by different ones, of which no two neighbors are held out."""
    while len(words) < n_words:
        words.append(rng.choice([word for word in others if word not in words and not is_held_out(words[-1], word)]))
    return words


def _agreement(rng: random.Random) -> str:
    subject, attractor = rng.choice(SUBJECTS), rng.choice(ATTRACTORS)
    while is_held_out(subject, attractor):
        attractor = rng.choice(ATTRACTORS)
    is_plural = rng.random() < 0.5
    other = f"{attractor}s" if rng.random() < 0.5 else attractor
    between = f" {rng.choice(PREPOSITIONS)} the {other}" if rng.random() < 0.8 else ""
    verb = rng.choice(VERBS)[is_plural]
    rest = f"a {rng.choice(OBJECTS)}" if verb in VERBS[-1] else rng.choice(QUALITIES)
    return f"{rng.choice(FRAMES)} {subject}{'s' if is_plural else ''}{between} {MARK}{verb} {rest}."
