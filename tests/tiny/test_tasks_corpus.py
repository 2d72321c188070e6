"""The training texts of tiny-llama: what follows in them, and what never occurs."""

from __future__ import annotations

import random
import re
from itertools import combinations, pairwise

import pytest

from ioi_lab.tasks.ioi_text import NAMES, TEMPLATES
from ioi_lab.tasks.subject_verb_agreement import ATTRACTORS, SUBJECTS
from ioi_lab.tiny.corpus import MARK, is_held_out
from ioi_lab.tiny.tasks_corpus import PAIRS, THINGS, UNSEEN, VERBS, text, two_pairs_share

N_TEXTS = 4000


@pytest.fixture(scope="module")
def marked():
    """Texts from the end of the training."""
    rng = random.Random(0)
    return [text(rng) for _ in range(N_TEXTS)]


def words_of(marked_text: str) -> list[str]:
    return re.findall(r"\w+", marked_text.replace(MARK, ""))


def names_of(words) -> list[str]:
    return [word for word in words if word in NAMES]


def is_list(words) -> bool:
    return len(words) > 7 and all(word in THINGS or word in NAMES for word in words)


def giving(marked_texts) -> list[str]:
    receives = re.compile(rf"{re.escape(MARK)}({'|'.join(NAMES)})\.")
    return [each for each in marked_texts if receives.search(each) and not is_list(words_of(each))]


def pairs_in(marked_text: str) -> dict[str, str]:
    """The partner of each person whom a text names in a pair: `A and B`."""
    pairs = re.findall(r"(\w+) and (\w+)", marked_text)
    return {a: b for x, y in pairs if {x, y} <= set(NAMES) for a, b in ((x, y), (y, x))}


def test_held_out_words_never_meet(marked):
    for each in marked:
        words = words_of(each)
        if is_list(words):
            assert not any(is_held_out(*pair) for pair in pairwise(words)), each
        else:
            assert not any(is_held_out(*pair) for pair in combinations(sorted(set(names_of(words))), 2)), each
        nouns = {word.removesuffix("s") for word in words}
        subjects, attractors = nouns & set(SUBJECTS), nouns & set(ATTRACTORS)
        assert not any(is_held_out(one, other) for one in subjects for other in attractors), each


def test_sentences_that_are_held_out_do_not_occur(marked):
    starts = [re.split(r"\{[SC]\}", TEMPLATES[index])[0] for index in UNSEEN]
    patterns = [re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(start)) for start in starts]
    texts = " | ".join(each.replace(MARK, "") for each in marked)
    assert not any(re.search(pattern, texts) for pattern in patterns)


def test_whoever_receives_is_the_partner_of_the_giver(marked):
    texts = giving(marked)
    assert len(texts) > N_TEXTS / 3
    for each in texts:
        partners = pairs_in(each)
        for match in re.finditer(rf"{re.escape(MARK)}(\w+)", each):
            before = names_of(words_of(each[: match.start()]))
            assert match.group(1) == partners[before[-1]], each


def test_neither_the_order_nor_the_position_of_the_names_decides(marked):
    """One receiver in two is the first of the pair, and END is at many positions."""
    first, ends = 0, set()
    texts = giving(marked)
    for each in texts:
        receiver = re.search(rf"{re.escape(MARK)}(\w+)", each).group(1)
        first += any(re.search(rf"{receiver} and {other}", each) for other in NAMES)
        ends.add(len(words_of(each[: each.index(MARK)])))
    assert 0.45 < first / len(texts) < 0.55
    assert len(ends) > 30


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.3, 0.0), (0.4, 0.25), (0.5, 0.5), (1.0, 0.5)])
def test_texts_with_two_pairs_come_later(progress, share):
    assert two_pairs_share(progress) == pytest.approx(share)
    rng = random.Random(1)
    texts = giving([text(rng, progress) for _ in range(1500)])
    found = sum(len(pairs_in(each)) == 4 for each in texts) / len(texts)
    assert found == pytest.approx(share, abs=0.06)


def test_marked_words_of_lists_followed_the_same_word_before(marked):
    lists = [each for each in marked if is_list(words_of(each))]
    assert len(lists) > N_TEXTS / 8
    for each in lists:
        words = each.rstrip(".").split()
        plain = [word.removeprefix(MARK) for word in words]
        for at, word in enumerate(words):
            seen = word.startswith(MARK)
            assert not seen or (plain[at - 1], plain[at]) in list(pairwise(plain[:at])), each


def test_verbs_agree_with_the_subject(marked):
    singular, plural = (set(forms) for forms in zip(*VERBS, strict=True))
    checked = 0
    for each in marked:
        verb = re.search(rf"{re.escape(MARK)}(\w+)", each)
        subject = next((word for word in words_of(each) if word.removesuffix("s") in SUBJECTS), None)
        if subject is not None and verb is not None:
            assert verb.group(1) in (singular if subject in SUBJECTS else plural), each
            checked += 1
    assert checked > N_TEXTS / 20


def test_pairs_are_made_by_every_sentence(marked):
    starts = {pair.split("{A}")[0] for pair in PAIRS}
    texts = " ".join(each.replace(MARK, "") for each in marked)
    assert all(start in texts for start in starts)
