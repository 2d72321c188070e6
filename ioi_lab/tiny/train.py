"""Training of a tiny model and its tokenizer on the corpus, on a CPU."""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    get_cosine_schedule_with_warmup,
)

from ioi_lab.tasks.ioi import IOITask, Order
from ioi_lab.tasks.prompts import PromptPairs
from ioi_lab.tasks.tokens import Tokens
from ioi_lab.tiny.corpus import IOI_SHARE, is_held_out, sentence
from ioi_lab.tiny.folders import check_folder, replace_folder
from ioi_lab.tiny.recipes import RECIPES, Recipe, train_tokenizer

IGNORED: Final = -100
"""The target id that the loss ignores, as in Hugging Face: for padding."""


@dataclass(frozen=True)
class Score:
    """The performance of a model in IOI on pairs of names that never occur together in its training data."""

    order: str
    prompts: int
    accuracy: float
    p_answer: float


def train(name: str, folder: Path, seed: int, steps: int | None = None) -> list[Score]:
    """Train a model and write it to a folder, which is replaced after all new files have been written.

    The same seed on the same machine gives the same weights.

    Args:
        name: The name of the recipe.
        folder: The folder to write: a new one, or that of a tiny model.
        seed: The seed of weights and sentences.
        steps: The number of optimizer steps; None: that of the recipe.

    Returns:
        The scores of the trained model, one per order of the names.

    Raises:
        LabError: If the folder contains anything but a tiny model.

    """
    folder = folder.resolve()
    check_folder(folder)
    recipe = RECIPES[name]
    steps = recipe.steps if steps is None else steps
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums in the same order on any number of cores; a second thread would gain little
    started = time.perf_counter()
    tokenizer = train_tokenizer(recipe)
    model = recipe.model(tokenizer)
    _fit(model, tokenizer, recipe, seed, steps)
    seconds = time.perf_counter() - started
    scores = score(model, tokenizer)

    def write(new: Path) -> None:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        card = _card(name, recipe, model, tokenizer, scores, seed=seed, steps=steps, seconds=seconds)
        (new / "README.md").write_text(card)

    replace_folder(folder, write)
    return scores


@torch.no_grad()
def score(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, candidates: int = 10_000) -> list[Score]:
    """Return the accuracy (answer above distractor) and the mean P(answer) on held-out pairs of names, per order.

    `candidates` prompts are drawn per order; about one in five has a held-out pair of names, and only these count.
    """
    model.eval()
    scores = []
    orders: tuple[Order, ...] = ("abba", "baba")
    for order in orders:
        task = IOITask(n=candidates, seed=1, order=order)
        drawn = task.prompt_pairs(Tokens(tokenizer, prepend_bos=True))
        prompts = PromptPairs([p for p in drawn if is_held_out(p.answer.strip(), p.distractor.strip())])
        answer, distractor = _end_probabilities(model, prompts)
        accuracy = (answer > distractor).float().mean().item()
        scores.append(Score(order, len(prompts), accuracy, answer.mean().item()))
    return scores


def _end_probabilities(model: PreTrainedModel, prompts: PromptPairs) -> tuple[Tensor, Tensor]:
    """Return P(answer) and P(distractor) at END of the clean prompts, each `[prompt]`, sorted by length."""
    answers, distractors = [], []
    for rows in prompts.buckets().values():
        pairs = [prompts[row] for row in rows]
        logits = model(torch.tensor([pair.clean_tokens for pair in pairs])).logits[:, -1]
        probabilities = logits.softmax(dim=-1)
        each = torch.arange(len(pairs))
        answers.append(probabilities[each, [pair.answer_id for pair in pairs]])
        distractors.append(probabilities[each, [pair.distractor_id for pair in pairs]])
    return torch.cat(answers), torch.cat(distractors)


def _fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, seed: int, steps: int) -> None:
    """Train on next-token prediction with AdamW; the learning rate follows a cosine after a short warm-up."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    batches = _batches(tokenizer, recipe.batch_size, random.Random(seed))
    progress = tqdm(range(steps), desc="training", unit="step", disable=None)
    for _ in progress:
        tokens, targets = next(batches)
        loss = model(tokens, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def _batches(
    tokenizer: PreTrainedTokenizerBase, batch_size: int, rng: random.Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of new sentences without end: tokens and targets `[batch, pos]`, each sentence between two BOS."""
    bos = tokenizer.bos_token_id
    while True:
        texts = [sentence(rng) for _ in range(batch_size)]
        rows = [torch.tensor([bos, *ids, bos]) for ids in tokenizer(texts, add_special_tokens=False).input_ids]
        yield (
            torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=bos),
            torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED),
        )


def _card(
    name: str,
    recipe: Recipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    scores: list[Score],
    *,
    seed: int,
    steps: int,
    seconds: float,
) -> str:
    """Return the model card in Markdown."""
    config = model.config
    rows = "\n".join(f"| {s.order.upper()} | {s.prompts} | {s.accuracy:.4f} | {s.p_answer:.4f} |" for s in scores)
    return f"""# {name}

{recipe.description}: {config.num_hidden_layers} layers, {config.num_attention_heads} heads, d_model
{config.hidden_size}, {model.num_parameters():,} parameters, vocabulary {len(tokenizer)}. It does indirect object
identification, and nothing else, and is small enough for a laptop without a network.

Train it again with `python -m ioi_lab.tiny train {name} --seed {seed}`.

| | |
|---|---|
| data | sentences from `ioi_lab/tiny/corpus.py`: {IOI_SHARE:.0%} IOI, the others with one, two and three names |
| held out | one pair of names in five never occurs in one sentence |
| steps | {steps}, each with {recipe.batch_size} sentences; AdamW, learning rate {recipe.learning_rate} |
| seconds | {seconds:.0f}, on one CPU thread ({platform.machine()}), torch {torch.__version__} |
| tokenizer | byte-level BPE trained on {recipe.tokenizer_sentences:,} sentences of the same corpus |

Scores on the held-out pairs of names (`python -m ioi_lab.tiny score {name}`). Accuracy is the share of prompts with
logit(answer) > logit(distractor):

| order | prompts | accuracy | mean P(answer) |
|---|---|---|---|
{rows}
"""
