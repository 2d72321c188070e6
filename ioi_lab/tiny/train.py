"""Training of a tiny model and its tokenizer on the corpus, on a CPU."""

from __future__ import annotations

import platform
import random
import re
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_cosine_schedule_with_warmup

from ioi_lab.tiny.corpus import MARK
from ioi_lab.tiny.folders import check_folder, replace_folder
from ioi_lab.tiny.recipes import RECIPES, Recipe, train_tokenizer
from ioi_lab.tiny.scoring import Score, score


def train(name: str, folder: Path, seed: int, steps: int | None = None) -> list[Score]:
    """Train a model and write it to a folder, which is replaced after all new files have been written.

    The same seed on the same machine gives the same weights.

    Args:
        name: The name of the recipe.
        folder: The folder to write: a new one, or that of a tiny model.
        seed: The seed of weights and texts.
        steps: The number of optimizer steps; None: that of the recipe.

    Returns:
        The scores of the trained model on held-out prompts.

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
    scores = score(model, tokenizer, recipe.held_out)

    def write(new: Path) -> None:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        card = _card(name, recipe, model, tokenizer, scores, seed=seed, steps=steps, seconds=seconds)
        (new / "README.md").write_text(card)

    replace_folder(folder, write)
    return scores


def _fit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, seed: int, steps: int) -> None:
    """Train on next-token prediction with AdamW; the learning rate follows a cosine after a short warm-up."""
    model.train()
    betas = (0.9, recipe.beta2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=betas, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=steps // 20, num_training_steps=steps)
    rng = random.Random(seed)
    progress = tqdm(range(steps), desc="training", unit="step", disable=None)
    for step in progress:
        parts = batch(tokenizer, recipe, rng, step / steps)
        whole = sum(weights.sum().item() for _, weights in parts)
        total = 0.0
        for tokens, weights in parts:
            loss = weighted_loss(model(tokens).logits, tokens, weights) / whole
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        progress.set_postfix(loss=f"{total:.3f}", refresh=False)


def weighted_loss(logits: Tensor, tokens: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of the losses of next tokens.

    Logits are `[text, pos, token]`, tokens and weights `[text, pos]`.
    """
    losses = functional.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    return (losses * weights[:, 1:]).sum()


def batch(
    tokenizer: PreTrainedTokenizerBase, recipe: Recipe, rng: random.Random, progress: float
) -> list[tuple[Tensor, Tensor]]:
    """Return a batch of new texts in parts of similar length: their tokens and the weights of these, `[text, pos]`.

    Each text stands between two BOS. Padding, and the first token, which is not predicted, have the weight 0. Texts
    that are too long for the model are replaced by others.
    """
    rows: list[tuple[Tensor, Tensor]] = []
    while len(rows) < recipe.batch_size:
        row = _row(tokenizer, recipe.text(rng, progress), recipe.unmarked)
        if len(row[0]) <= recipe.max_positions:
            rows.append(row)
    if recipe.n_parts > 1:
        rows.sort(key=lambda row: len(row[0]))
    size = -(-recipe.batch_size // recipe.n_parts)
    return [_padded(rows[start : start + size], tokenizer.bos_token_id) for start in range(0, len(rows), size)]


def _row(tokenizer: PreTrainedTokenizerBase, marked: str, unmarked: float) -> tuple[Tensor, Tensor]:
    """Return the tokens of a text and their weights, `[pos]`."""
    text, ends = marked.replace(MARK, ""), set()
    for count, match in enumerate(re.finditer(rf"{re.escape(MARK)}\w+", marked), start=1):
        ends.add(match.end() - count)
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    weights = [1.0 if end in ends else unmarked for _, end in encoding.offset_mapping]
    bos = tokenizer.bos_token_id
    return torch.tensor([bos, *encoding.input_ids, bos]), torch.tensor([0.0, *weights, unmarked])


def _padded(rows: list[tuple[Tensor, Tensor]], bos: int) -> tuple[Tensor, Tensor]:
    tokens, weights = zip(*rows, strict=True)
    return (
        torch.nn.utils.rnn.pad_sequence(list(tokens), batch_first=True, padding_value=bos),
        torch.nn.utils.rnn.pad_sequence(list(weights), batch_first=True, padding_value=0.0),
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
    rows = "\n".join(f"| {s.name} | {s.prompts} | {s.accuracy:.4f} | {s.p_answer:.4f} |" for s in scores)
    return f"""# {name}

{recipe.description}: {config.num_hidden_layers} layers, {config.num_attention_heads} heads, d_model
{config.hidden_size}, {model.num_parameters():,} parameters, vocabulary {len(tokenizer)}. It does {recipe.does},
and nothing else, and is small enough for a laptop without a network.

Train it again with `python -m ioi_lab.tiny train {name} --seed {seed}`.

| | |
|---|---|
| data | {recipe.data} |
| held out | {recipe.left_out} |
| steps | {steps}, each with {recipe.batch_size} texts; AdamW, learning rate {recipe.learning_rate} |
| seconds | {seconds:.0f}, on one CPU thread ({platform.machine()}), torch {torch.__version__} |
| tokenizer | byte-level BPE trained on {recipe.tokenizer_texts:,} texts of the same corpus |

Scores on prompts with held-out pairs of words (`python -m ioi_lab.tiny score {name}`). Accuracy is the share of prompts
whose answers together are more probable than the distractors together:

| prompts | number | accuracy | mean P(answer) |
|---|---|---|---|
{rows}
"""
