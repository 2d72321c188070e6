"""Sets of answers and distractors: every readout against the plain model and `torch.logsumexp`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ioi_lab.engine.edits import Edit, FromPass, Site
from ioi_lab.engine.engine import Engine
from ioi_lab.engine.targets import Targets
from ioi_lab.errors import LabError
from ioi_lab.tasks.prompts import PromptPairs
from tests.engine.toy import PROMPTS
from tests.oracle import edited_end_logits

SIZES = [(0, 0), (2, 1), (1, 3)]
"""How many tokens are added to a prompt's answer and distractor: the sets are of different sizes."""


def with_sets(prompts: PromptPairs) -> PromptPairs:
    """The same prompts with sets of names as answers and distractors; those of the first have one token each."""
    names = {token for pair in prompts for token in (pair.answer_id, pair.distractor_id)}
    pairs = []
    for index, pair in enumerate(prompts):
        (n_answers, n_distractors), own = SIZES[index % len(SIZES)], {pair.answer_id, pair.distractor_id}
        more = sorted(names - own)[: n_answers + n_distractors]
        answers = (pair.answer_id, *more[:n_answers])
        distractors = (pair.distractor_id, *more[n_answers:])
        texts = {"answers": tuple(map(str, answers)), "distractors": tuple(map(str, distractors))}
        pairs.append(replace(pair, answer_ids=answers, distractor_ids=distractors, **texts))
    return PromptPairs(pairs)


def log_sums(values, pair):
    """log Σ exp over the answers and over the distractors, of values over the vocabulary."""
    return [torch.logsumexp(values[list(ids)], dim=0) for ids in (pair.answer_ids, pair.distractor_ids)]


@pytest.fixture(scope="module", params=["tiny-gpt2", "llama-gqa"])
def setup(request, setups):
    model, plain, prompts = setups[request.param]
    return model, plain, with_sets(prompts)


def some_edits(shape):
    return [
        (),
        (Edit(Site("z", 0, 1), "replace", FromPass("corrupted")),),
        (Edit(Site("mlp_out", shape.n_layers - 1, None, "END"), "zero"),),
    ]


@pytest.mark.parametrize("kind", ["full", "logit_diff"])
def test_edited_passes_equal_the_plain_model(setup, kind):
    model, plain, prompts = setup
    edit_sets = some_edits(model.shape)
    readout = Engine(model, prompts, readout=kind).run(edit_sets, "clean", progress=False)
    for row, pair in enumerate(prompts):
        for index, edits in enumerate(edit_sets):
            logits = edited_end_logits(plain, pair, row, edits, "clean")
            answer, distractor = log_sums(logits, pair)
            probabilities = logits.softmax(-1)
            expected = {
                "answer_logit": answer,
                "distractor_logit": distractor,
                "logit_diff": answer - distractor,
                "p_answer": probabilities[list(pair.answer_ids)].sum(),
                "p_distractor": probabilities[list(pair.distractor_ids)].sum(),
            }
            for name, value in expected.items():
                if (got := getattr(readout, name)) is not None:
                    assert got[index, row] == pytest.approx(value.item(), abs=1e-4), (name, index, row)
    assert ((readout.logit_diff > 0) == readout.correct.astype(bool)).all()


def test_sets_of_one_token_give_the_numbers_of_before_bit_for_bit(setups):
    model, _, prompts = setups["tiny-gpt2"]
    logits = torch.randn(3, len(prompts), model.bridge.cfg.d_vocab)
    targets = Targets.of(list(prompts), model.device)
    assert targets.are_single
    assert torch.equal(targets.read(logits), logits.gather(-1, targets.ids.expand(3, -1, -1)))
    mixed = Targets.of(list(with_sets(prompts)), model.device)
    assert torch.equal(mixed.read(logits)[:, 0], targets.read(logits)[:, 0])  # the first prompt's sets have one token


def test_estimates_equal_automatic_differentiation(setup):
    model, plain, prompts = setup
    site = Site("resid_pre", 0)
    engine = Engine(model, prompts)
    got = engine.estimate([(Edit(site, "replace", FromPass("corrupted")),)], "clean").logit_diff[0]
    embed = plain.get_input_embeddings()
    for row, pair in enumerate(prompts):
        ends = []
        for ids in (pair.clean_tokens, pair.corrupted_tokens):
            with torch.no_grad():
                ends.append(embed(torch.tensor([ids])))
        leaf = ends[0].clone().requires_grad_()
        with torch.enable_grad():
            answer, distractor = log_sums(plain(inputs_embeds=leaf).logits[0, -1], pair)
            (gradient,) = torch.autograd.grad(answer - distractor, leaf)
        change = float(((ends[1] - ends[0]) * gradient).sum())
        assert got[row] - engine.baseline("clean").logit_diff[0, row] == pytest.approx(change, abs=1e-4)


def test_the_rank_of_a_set_is_that_of_its_likeliest_answer():
    targets = Targets.of([replace(PROMPTS[0], answer_ids=(1, 4)), PROMPTS[1]], torch.device("cpu"))
    values = torch.tensor([[0.0, 2, 5, 1, 3, 0, 0], [9, 1, 5, 0, 0, 0, 0]])
    assert targets.rank(values).tolist() == [2, 3]  # token 0, which fills the second row, is no answer
    assert targets.select(torch.tensor([1, 0])).rank(values).tolist() == [3, 3]


def test_what_needs_one_token_says_so():
    pair = replace(PROMPTS[0], answer_ids=(1, 4))
    with pytest.raises(LabError, match="needs prompts with one answer and one distractor, but 'x' has 2 answers"):
        _ = pair.answer_id
    assert pair.distractor_id == PROMPTS[0].distractor_id
