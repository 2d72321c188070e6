"""Scores of the tiny models, on prompts with pairs of words that never occur together in their training data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ioi_lab.tasks.induction import InductionTask
from ioi_lab.tasks.ioi import IOITask
from ioi_lab.tasks.ioi_text import TEMPLATES
from ioi_lab.tasks.prompts import PromptPair, PromptPairs, Task
from ioi_lab.tasks.subject_verb_agreement import SubjectVerbAgreementTask
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny.corpus import is_held_out
from ioi_lab.tiny.tasks_corpus import UNSEEN

SEED: Final = 1
"""The seed of the prompts."""


@dataclass(frozen=True)
class HeldOut:
    """Prompts that a model is scored on."""

    name: str
    task: Callable[[int], Task]
    """Makes the task with a number of prompts."""

    keeps: Callable[[PromptPair], bool]
    """Whether a prompt of the task differs from the training data as it should."""

    def prompts(self, tokens: Tokens, candidates: int) -> PromptPairs:
        """Return those of `candidates` prompts that are kept, about one in five."""
        return PromptPairs([pair for pair in self.task(candidates).prompt_pairs(tokens) if self.keeps(pair)])


@dataclass(frozen=True)
class Score:
    """The performance of a model on held-out prompts."""

    name: str
    prompts: int
    accuracy: float
    """The share of prompts whose answers together are more probable than the distractors together."""

    p_answer: float
    """The mean probability of the answers together."""


@torch.no_grad()
def score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    held_out: tuple[HeldOut, ...],
    candidates: int = 10_000,
) -> list[Score]:
    """Return the scores on each kind of held-out prompts, of `candidates` drawn ones each."""
    model.eval()
    scores = []
    for kind in held_out:
        prompts = kind.prompts(Tokens(tokenizer, prepend_bos=True), candidates)
        answer, distractor = _end_probabilities(model, prompts)
        accuracy = (answer > distractor).float().mean().item()
        scores.append(Score(kind.name, len(prompts), accuracy, answer.mean().item()))
    return scores


def _end_probabilities(model: PreTrainedModel, prompts: PromptPairs) -> tuple[Tensor, Tensor]:
    """Return P(answers) and P(distractors) at END of the clean prompts, each `[prompt]`, sorted by length."""
    answers, distractors = [], []
    for rows in prompts.buckets().values():
        pairs = [prompts[row] for row in rows]
        logits = model(torch.tensor([pair.clean_tokens for pair in pairs])).logits[:, -1]
        for pair, each in zip(pairs, logits.softmax(dim=-1), strict=True):
            answers.append(each[list(pair.answer_ids)].sum())
            distractors.append(each[list(pair.distractor_ids)].sum())
    return torch.stack(answers), torch.stack(distractors)


def _new_names(pair: PromptPair) -> bool:
    return is_held_out(pair.answer.strip(), pair.distractor.strip())


def _is_unseen(pair: PromptPair) -> bool:
    return pair.group in {TEMPLATES[index] for index in UNSEEN}


def _new_neighbors(pair: PromptPair) -> bool:
    return is_held_out(pair.clean.split()[-1], pair.answer.strip())


def _new_nouns(pair: PromptPair) -> bool:
    subject, attractor = pair.topics
    return is_held_out(subject, attractor)


NAMES_BY_ORDER: Final = (
    HeldOut("ABBA", lambda n: IOITask(n=n, seed=SEED, order="abba"), _new_names),
    HeldOut("BABA", lambda n: IOITask(n=n, seed=SEED, order="baba"), _new_names),
)
"""IOI prompts with pairs of names that never meet in the training data, by the order of the names."""

THREE_TASKS: Final = (
    HeldOut("ioi", lambda n: IOITask(n=n, seed=SEED), lambda pair: _new_names(pair) and not _is_unseen(pair)),
    HeldOut("ioi, unseen sentences", lambda n: IOITask(n=n, seed=SEED), lambda p: _new_names(p) and _is_unseen(p)),
    HeldOut("induction", lambda n: InductionTask(n=n, seed=SEED), _new_neighbors),
    HeldOut("subject_verb_agreement", lambda n: SubjectVerbAgreementTask(n=n, seed=SEED), _new_nouns),
)
"""Prompts with new pairs of names, the sentences of training or others; with new neighbors; with new pairs of nouns."""
