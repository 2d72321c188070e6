from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ioi_lab.errors import LabError
from ioi_lab.tasks.ioi import single_token_names
from ioi_lab.tasks.ioi_text import NAMES, TEMPLATES
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny import tiny_folder
from tests.conftest import ioi_task


@pytest.fixture(scope="module", params=["tiny-gpt2", "tiny-pythia"])
def tokens(request):
    return Tokens(AutoTokenizer.from_pretrained(tiny_folder(request.param)), prepend_bos=True)


def test_the_words_are_enough():
    assert len(set(TEMPLATES)) >= 15
    assert len(set(NAMES)) == len(NAMES) >= 100


@pytest.mark.parametrize("corruption", ["s2", "swap", "abc"])
@pytest.mark.parametrize("order", ["abba", "baba", "mixed"])
def test_labels_and_corruptions(tokens, order, corruption):
    prompts = ioi_task(n=40, order=order, corruption=corruption).prompt_pairs(tokens)
    for index, pair in enumerate(prompts):
        words = {label: pair.token_strings[position] for label, position in pair.labels.items()}
        at = pair.labels
        assert words["IO"] == pair.answer
        assert words["S1"] == words["S2"] == pair.distractor
        assert at["S1+1"] == at["S1"] + 1
        assert at["S1"] < at["S2"] < at["END"] == len(pair) - 1
        assert at["BOS"] == 0
        first = order if order != "mixed" else ("abba", "baba")[(index + index // len(TEMPLATES)) % 2]
        assert (at["IO"] < at["S1"]) == (first == "abba")
        changed = [i for i, (a, b) in enumerate(zip(pair.clean_tokens, pair.corrupted_tokens, strict=True)) if a != b]
        names = sorted({at["IO"], at["S1"], at["S2"]})
        assert changed == ([at["S2"]] if corruption == "s2" else names)
        corrupted = [pair.corrupted_tokens[at[label]] for label in ("IO", "S1", "S2")]
        io, subject = pair.answer_id, pair.distractor_id
        if corruption == "s2":
            assert corrupted == [io, subject, io]
        elif corruption == "swap":
            assert corrupted == [subject, io, io]
        else:
            assert len({*corrupted, io, subject}) == 5


def test_text_and_tokens_say_the_same(tokens):
    for pair in ioi_task(n=20).prompt_pairs(tokens):
        assert tokens.tokenizer.decode(pair.clean_tokens[1:]) == pair.clean
        assert "".join(pair.token_strings[1:]) == pair.clean


def test_seed_decides_the_prompts(tokens):
    texts = [[pair.clean for pair in ioi_task(seed=seed).prompt_pairs(tokens)] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_the_same_prompts_on_every_machine():
    """Recorded, since nothing else can tell whether a seed still draws what it drew elsewhere."""
    tokens = Tokens(AutoTokenizer.from_pretrained(tiny_folder("tiny-gpt2")), prepend_bos=True)
    first = ioi_task(n=1, seed=0, order="abba").prompt_pairs(tokens)[0]
    assert first.clean == "When Laura and Luke went to the beach, Luke gave a cup to"


class Cut(Tokens):
    """A tokenizer in which some names are two tokens."""

    gone: tuple[str, ...] = ()

    def single(self, text):
        return None if text.strip() in self.gone else super().single(text)


def without(tokens, *names):
    cut = Cut(tokens.tokenizer, tokens.prepend_bos)
    object.__setattr__(cut, "gone", names)
    return cut


def test_a_seed_gives_every_model_the_same_prompts(tokens):
    """Without two of the names, only prompts that would have them differ, and only in these names."""
    task = ioi_task(n=64)
    whole = task.prompt_pairs(tokens)
    assert whole.notes == ()
    gone = (whole[0].answer.strip(), whole[3].distractor.strip())
    cut = task.prompt_pairs(without(tokens, *gone))
    n_replaced = 0
    for own, other in zip(whole, cut, strict=True):
        assert (own.frame, own.group) == (other.frame, other.group)
        replaced = {own.answer.strip(), own.distractor.strip()} & set(gone)
        n_replaced += len(replaced)
        if not replaced:
            assert own == other
        else:
            changed = [a for a, b in zip(own.clean.split(), other.clean.split(), strict=True) if a != b]
            assert {word.strip(".,") for word in changed} == replaced
    assert n_replaced >= 2
    assert cut.notes == (
        f"{n_replaced} of the drawn names are not single tokens of this model, and others take their place",
    )


def test_sixteen_prompts_have_all_sentences_and_both_orders(tokens):
    prompts = list(ioi_task(n=32).prompt_pairs(tokens))
    for half in (prompts[:16], prompts[16:]):
        assert {pair.group for pair in half} == set(TEMPLATES)
        assert sum(pair.labels["IO"] < pair.labels["S1"] for pair in half) == 8
    assert len({pair.frame for pair in prompts}) == 32


def test_one_template_gives_one_length(tokens):
    assert len(ioi_task(n=20, order="abba", template=0).prompt_pairs(tokens).buckets()) == 1


def test_without_bos_there_is_no_such_label(tokens):
    prompts = ioi_task(n=4).prompt_pairs(Tokens(tokens.tokenizer, prepend_bos=False))
    assert "BOS" not in prompts.labels()
    assert prompts[0].clean_tokens[0] != tokens.tokenizer.bos_token_id


def test_too_few_names_is_reported():
    letters = Tokenizer(models.BPE(vocab={chr(i): i for i in range(256)}, merges=[]))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(LabError, match=f"has 0 of {len(NAMES)} names as single tokens, at least 10 are needed"):
        single_token_names(Tokens(PreTrainedTokenizerFast(tokenizer_object=letters), prepend_bos=False))


JAMES = "When James and Robert went to the park, James gave a ball to"


@pytest.mark.parametrize(
    ("corruption", "corrupted"),
    [
        ("s2", "When James and Robert went to the park, Robert gave a ball to"),
        ("swap", "When Robert and James went to the park, Robert gave a ball to"),
    ],
)
def test_a_sentence_of_ones_own(tokens, corruption, corrupted):
    (pair,) = ioi_task(prompt=JAMES, corruption=corruption).prompt_pairs(tokens)
    assert (pair.clean, pair.corrupted) == (JAMES, corrupted)
    assert (pair.answer, pair.distractor) == (" Robert", " James")
    words = {label: pair.token_strings[position] for label, position in pair.labels.items()}
    assert (words["IO"], words["S1"], words["S2"], words["END"]) == (" Robert", " James", " James", " to")


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ({"answer": "James", "distractor": "James"}, r"task\.answer: got 'James', which is the distractor too"),
        ({"answer": "James", "distractor": "Robert"}, "has the answer 'James' 2 times and the distractor 'Robert' 1"),
        ({"answer": "Zoe"}, "has the answer 'Zoe' 0 times and the distractor 'James' 2 times, expected once and twice"),
    ],
)
def test_names_that_do_not_fit_the_sentence_are_reported(names, line):
    with pytest.raises(LabError, match=line):
        ioi_task(prompt=JAMES, **names)


def test_names_without_their_sentence_are_reported():
    with pytest.raises(LabError, match=r"^task\.prompt: got None, but task\.answer and task\.distractor name people"):
        ioi_task(answer="Mary")


def test_titles_name_the_corruption():
    assert ioi_task(corruption="abc").title == "ioi (abc)"
    assert ioi_task(only_correct=True).title == "ioi (s2), answered correctly"


def test_unrelated_names_in_a_sentence_of_ones_own(tokens):
    (pair,) = ioi_task(prompt=JAMES, corruption="abc").prompt_pairs(tokens)
    names = [pair.corrupted_tokens[pair.labels[label]] for label in ("IO", "S1", "S2")]
    assert len({*names, pair.answer_id, pair.distractor_id}) == 5


def test_names_that_are_given(tokens):
    prompt = "Then Ann saw Tom, and Ann gave it to"
    (pair,) = ioi_task(prompt=prompt, answer=" Tom", distractor="Ann").prompt_pairs(tokens)
    assert (pair.answer, pair.distractor) == (" Tom", " Ann")
    three = "Then Ann and Ben saw Tom, and Ann gave it to"
    with pytest.raises(LabError, match=r"task\.prompt: cannot infer from"):
        ioi_task(prompt=three)
    assert ioi_task(prompt=three, answer="Ben").prompt_pairs(tokens)[0].answer == " Ben"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"prompt": "Then Xerxesia saw Tom. Tom gave it to", "answer": "Xerxesia"},
            "answer ' Xerxesia' is not exactly",
        ),
        ({"prompt": "James and Robert met, James gave it to"}, "must be single tokens, each time after a space"),
    ],
)
def test_names_that_are_not_single_tokens_are_reported(tokens, changes, line):
    with pytest.raises(LabError, match=rf"task\.prompt: .*{line}"):
        ioi_task(**changes).prompt_pairs(tokens)
